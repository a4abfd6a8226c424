"""Token counts as engines tell them; what is not told is unknown, never zero."""

import pytest

from cortex.dialects.usage import Usage, of_all, read_usage, read_usage_in_tail

LLAMA = (
    b'{"choices":[],"model":"m","usage":{"completion_tokens":7,"prompt_tokens":11,"total_tokens":18,'
    b'"prompt_tokens_details":{"cached_tokens":3}},"timings":{"prompt_n":8}}'
)
MISTRAL = (
    b'{"choices":[{"finish_reason":"stop","delta":{"content":""}}],"usage":{"completion_tokens":2,"prompt_tokens":5,'
    b'"total_tokens":7,"avg_tok_per_sec":12.5,"total_time_sec":0.0}}'
)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (LLAMA, Usage(11, 7, 18)),
        (MISTRAL, Usage(5, 2, 7)),
        (b'{"usage":{"prompt_tokens":4,"total_tokens":4},"data":[]}', Usage(4, None, 4)),
        (b'{"usage" : {"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}', Usage(0, 0, 0)),
        (b'{"content":"x","tokens_predicted":6,"tokens_evaluated":9}', Usage(9, 6, 15)),
        (b'{"content":"x","tokens_predicted":6}', Usage(None, 6, 6)),
        (b'{"usage":{"prompt_tokens":1},"tokens_predicted":6}', Usage(1, None, None)),
    ],
    ids=["llama.cpp", "mistral.rs", "embeddings", "zero", "native", "native, prompt unknown", "both"],
)
def test_usage_is_read_from_a_body(body: bytes, usage: Usage) -> None:
    assert read_usage(body) == usage


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[DONE]",
        b"not json",
        b"[]",
        b"{}",
        b'{"usage":null}',
        b'{"usage":{}}',
        b'{"usage":[]}',
        b'{"usage":{"type":"duration","seconds":3}}',
        b'{"usage":{"prompt_tokens":"3"}}',
        b'{"content":"\\"usage\\":{\\"prompt_tokens\\":3}"}',
        b'{"tokens_evaluated":9}',
        b'{"usage":{"prompt_tokens":3}',
        b"\xff",
        b'{"a":' + b"[" * 50_000,
        b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_what_tells_no_usage_is_unknown(body: bytes) -> None:
    assert read_usage(body) is None


@pytest.mark.parametrize("absurd", ["-5", "1" + "0" * 30, "1000000001"])
def test_a_count_that_can_be_none_is_unknown(absurd: str) -> None:
    body = b'{"usage":{"prompt_tokens":%b,"completion_tokens":2,"total_tokens":%b}}' % ((absurd.encode(),) * 2)
    assert read_usage(body) == read_usage_in_tail(body) == Usage(None, 2, None)
    native = b'{"tokens_predicted":%b,"tokens_evaluated":3}' % absurd.encode()
    assert read_usage(native) == Usage(3, None, None)


@pytest.mark.parametrize("cut", [0, 5, 20])
def test_usage_is_read_from_the_end_of_a_body(cut: int) -> None:
    assert read_usage_in_tail(LLAMA[cut:]) == Usage(11, 7, 18)


@pytest.mark.parametrize(
    ("tail", "usage"),
    [
        (b'...","usage":{"prompt_tokens":1,"note":"}{\\"}"},"x":1}', Usage(1)),
        (b'"usage":{"prompt_tokens":1}}{"usage":{"prompt_tokens":2}}', Usage(2)),
        (b'"usage" :\n{ "prompt_tokens" : 3 }', Usage(3)),
    ],
)
def test_the_last_usage_in_the_tail_counts(tail: bytes, usage: Usage) -> None:
    assert read_usage_in_tail(tail) == usage


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b'age":{"prompt_tokens":1}}',
        b'"usage":null}',
        b'"usage":{"prompt_tokens":1',
        b'"usage":{"prompt_tokens":"x"}',
        b'\\"usage\\":{\\"prompt_tokens\\":1}"}',
        b'"usage":{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{"',
    ],
)
def test_a_tail_without_whole_usage_is_unknown(tail: bytes) -> None:
    assert read_usage_in_tail(tail) is None


def test_of_answers_that_an_engine_does_not_tell_each_is_taken_for_as_long_as_the_first() -> None:
    assert of_all(Usage(22, 30, 52), 4) == Usage(22, 120, 142)
    assert of_all(Usage(None, 30, None), 2) == Usage(None, 60, 60)
    assert of_all(Usage(22, 30, 52), 1) == Usage(22, 30, 52)
    assert of_all(Usage(22, None, 22), 4) == Usage(22, None, 22)
    assert of_all(Usage(2, 30, 32), 8, 4, 5) == Usage(8, 240, 248)
    assert of_all(Usage(2, 30, 32), 8, 4, 500) == Usage(500, 240, 740)
    assert of_all(None, 4) is None
    assert of_all(Usage(1, 10**9, 10**9), 4) == Usage(1, None, None)

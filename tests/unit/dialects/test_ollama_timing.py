"""How long an answer took, by whoever knows it best."""

import pytest

from cortex.dialects.ollama_timing import Timing

LLAMA = b'{"choices":[],"timings":{"prompt_n":3,"prompt_ms":12.5,"predicted_ms":250.0}}'
MISTRAL = b'{"usage":{"total_prompt_time_sec":0.25,"total_completion_time_sec":1.5}}'


def test_what_the_engine_measured_counts_more_than_the_clock() -> None:
    times = iter([1.0, 2.0, 3.0])
    timing = Timing(lambda: next(times))
    timing.begin()
    timing.look(LLAMA)
    assert timing.members() == {
        "total_duration": 3_000_000_000,
        "load_duration": 1_000_000_000,
        "prompt_eval_duration": 12_500_000,
        "eval_duration": 250_000_000,
    }


@pytest.mark.parametrize("absurd", [b"-1e308", b"1e308"])
def test_times_that_can_be_none_are_still_numbers(absurd: bytes) -> None:
    timing = Timing(None)
    timing.look(b'{"timings":{"prompt_ms":%b,"predicted_ms":%b}}' % (absurd, absurd))
    assert all(0 <= duration <= 10**18 for duration in timing.members().values())


def test_mistralrs_says_it_in_seconds() -> None:
    timing = Timing(None)
    timing.look(MISTRAL)
    assert timing.members() == {"prompt_eval_duration": 250_000_000, "eval_duration": 1_500_000_000}


@pytest.mark.parametrize(
    "payload",
    [
        b'{"usage":{"total_prompt_time_sec":0.0,"total_completion_time_sec":0.0}}',
        b'{"timings":{"prompt_ms":"soon","predicted_ms":1}}',
        b'{"timings":{"prompt_ms":1}}',
        b'"_ms"',
        b'{"a_ms":',
    ],
    ids=["rounded to nothing", "no number", "half of it", "no object", "no JSON"],
)
def test_numbers_that_say_nothing_are_left_out(payload: bytes) -> None:
    timing = Timing(None)
    timing.look(payload)
    assert timing.members() == {}


def test_without_a_stream_the_clock_knows_only_the_whole() -> None:
    times = iter([1.0, 3.0])
    assert Timing(lambda: next(times)).members() == {"total_duration": 3_000_000_000, "load_duration": 1_000_000_000}


def test_only_the_first_content_counts_as_the_first() -> None:
    times = iter([0.0, 1.0, 5.0])
    timing = Timing(lambda: next(times))
    timing.begin()
    timing.begin()
    assert timing.members()["prompt_eval_duration"] == 1_000_000_000

"""The tap: what it lets through, keeps back and puts right, and what it has seen, however the stream is cut."""

import random
import tracemalloc
from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import pytest
from tests.unit.dialects.stream import DONE, FINISH, ROLE_ONLY, delta, event, stream, text, usage_only

from cortex.dialects.openai_stream import BOM, MAX_HELD_BYTES, StreamTap
from cortex.dialects.usage import Usage

COUNTED = Usage(3, 2, 5)
HELLO = (text(b"Hel"), text(b"lo"))
ERROR = b'{"error":{"code":500,"message":"slot died","type":"server_error"}}'
TOOL_CALLS = (
    ROLE_ONLY,
    delta(b'"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{"}}]'),
    delta(b'"tool_calls":[{"index":0,"function":{"arguments":"\\"usage\\":{}"}}]'),
    delta(b"", finish=b'"tool_calls"'),
)


class Outcome(NamedTuple):
    passed: bytes
    is_done: bool
    usage: Usage | None
    carries_error: bool
    has_content: bool
    has_data: bool


def tapped(pieces: list[bytes], *, model: str = "m", strip: bool = False, is_chat: bool = True) -> Outcome:
    tap = StreamTap(model, strip_usage=strip, is_chat=is_chat)
    passed = b"".join([tap.feed(piece, 1.0 + number) for number, piece in enumerate(pieces)]) + tap.close()
    has_content, has_data = tap.first_content_s is not None, tap.last_data_s is not None
    return Outcome(passed, tap.is_done, tap.usage, tap.carries_error, has_content, has_data)


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, line by line, event by event, and at random places, few and many."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    yield data.splitlines(keepends=True)
    yield [part + b"\n\n" for part in data.split(b"\n\n")[:-1]] + [data.split(b"\n\n")[-1]]
    for seed in range(40):
        chance = random.Random(seed)
        places = sorted(chance.sample(range(1, len(data)), min(chance.choice((2, 10, 60)), len(data) - 1)))
        yield [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


def agreed(data: bytes, *, model: str = "m", strip: bool = False, is_chat: bool = True) -> Outcome:
    """What the tap makes of a stream, which must not depend on how it is cut."""
    whole = tapped([data], model=model, strip=strip, is_chat=is_chat)
    for pieces in cuts(data):
        assert tapped([piece for piece in pieces if piece], model=model, strip=strip, is_chat=is_chat) == whole
    return whole


# What an engine sends, and what a client gets that did not ask for usage where the gateway did.
STREAMS: dict[str, tuple[bytes, bytes, Usage | None]] = {
    "llama.cpp without usage": (stream(ROLE_ONLY, *HELLO, FINISH, DONE), b"", None),
    "llama.cpp with usage": (
        stream(ROLE_ONLY, *HELLO, FINISH, usage_only(), DONE),
        stream(ROLE_ONLY, *HELLO, FINISH, DONE),
        COUNTED,
    ),
    "carriage returns": (
        stream(ROLE_ONLY, *HELLO, FINISH, usage_only(), DONE, end=b"\r\n\r\n"),
        stream(ROLE_ONLY, *HELLO, FINISH, DONE, end=b"\r\n\r\n"),
        COUNTED,
    ),
    "no blank behind the colon": (
        stream(ROLE_ONLY, *HELLO, usage_only(), DONE, gap=b""),
        stream(ROLE_ONLY, *HELLO, DONE, gap=b""),
        COUNTED,
    ),
    "comments": (
        b":\n\n" + event(ROLE_ONLY) + b": ping\n\n" + event(HELLO[0]) + b":\n\n" + stream(usage_only(), HELLO[1], DONE),
        b":\n\n" + event(ROLE_ONLY) + b": ping\n\n" + event(HELLO[0]) + b":\n\n" + stream(HELLO[1], DONE),
        COUNTED,
    ),
    "comment between usage and its blank line": (
        stream(*HELLO) + b"data: " + usage_only() + b"\n: ping\n\n" + stream(DONE),
        stream(*HELLO) + b": ping\n" + stream(DONE),
        COUNTED,
    ),
    "event names and ids": (
        b"event: x\nid: 1\n" + event(HELLO[0]) + b"id: 2\nretry: 5\n" + stream(HELLO[1], usage_only(), DONE),
        b"event: x\nid: 1\n" + event(HELLO[0]) + b"id: 2\nretry: 5\n" + stream(HELLO[1], DONE),
        COUNTED,
    ),
    "tool calls": (stream(*TOOL_CALLS, usage_only(), DONE), stream(*TOOL_CALLS, DONE), COUNTED),
    "reasoning": (stream(ROLE_ONLY, delta(b'"reasoning_content":"Hm"'), *HELLO, FINISH, DONE), b"", None),
    "mistral.rs": (
        stream(
            delta(b'"content":"Hi","role":"assistant"', more=b',"usage":null'),
            delta(b'"content":" you","role":"assistant"', more=b',"usage":null'),
            delta(
                b'"content":"","role":"assistant"',
                finish=b'"stop"',
                more=b',"usage":{"completion_tokens":2,"prompt_tokens":3,"total_tokens":5,"total_time_sec":0.0}',
            ),
            DONE,
        ),
        b"",
        COUNTED,
    ),
    "vllm asked for usage": (
        stream(
            text(b"a", more=b', "usage": null'),
            text(b"b", more=b', "usage": null'),
            usage_only().replace(b'"usage":{', b'"usage": {'),
            DONE,
        ),
        stream(text(b"a", more=b', "usage": null'), text(b"b", more=b', "usage": null'), DONE),
        COUNTED,
    ),
    "usage in every chunk": (
        stream(
            text(b"a", more=b',"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}'),
            text(b"b", more=b',"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}'),
            DONE,
        ),
        b"",
        COUNTED,
    ),
    "completions of mistral.rs": (
        stream(
            b'{"id":"1","object":"text_completion","model":"m","choices":[{"text":"Hi","index":0,"finish_reason":null}]}',
            b'{"id":"1","object":"text_completion","model":"m","choices":[{"text":"","index":0,"finish_reason":"stop"}]}',
            DONE,
        ),
        b"",
        None,
    ),
    "no choices and no usage": (stream(*HELLO, b'{"choices":[],"prompt_filter_results":[]}', DONE), b"", None),
    "an odd usage": (stream(*HELLO, b'{"choices":[],"usage":"none"}', b'{"choices":[],"usage":{}}', DONE), b"", None),
    "odd choices": (
        stream(*HELLO, b'{"choices":7,"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}', DONE),
        b"",
        COUNTED,
    ),
}


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_passes_verbatim_when_its_client_asked_for_usage(case: str) -> None:
    data, _, usage = STREAMS[case]
    assert agreed(data) == Outcome(data, True, usage, False, True, True)


@pytest.mark.parametrize("case", STREAMS)
def test_only_the_usage_that_we_asked_for_is_kept_from_the_client(case: str) -> None:
    data, stripped, usage = STREAMS[case]
    assert agreed(data, strip=True) == Outcome(stripped or data, True, usage, False, True, True)


TIMINGS = b',"timings":{"prompt_n":3}'
TIMED = delta(b"", finish=b'"stop"', more=TIMINGS)
"""The finish as llama.cpp writes it when it was not asked for usage."""
TIMED_USAGE = usage_only(more=TIMINGS)


@pytest.mark.parametrize(
    ("came", "passed"),
    [
        (stream(FINISH, TIMED_USAGE, DONE), stream(TIMED, DONE)),
        (stream(*HELLO, FINISH, TIMED_USAGE), stream(*HELLO, TIMED)),
        (stream(FINISH) + b":\n\n" + stream(TIMED_USAGE), stream(TIMED) + b":\n\n"),
        (stream(FINISH, FINISH, TIMED_USAGE), stream(FINISH, TIMED)),
        (stream(TIMED, TIMED_USAGE), stream(TIMED)),
        (stream(*HELLO, TIMED_USAGE, DONE), stream(*HELLO, DONE)),
        (b'data: "finish_reason":"\n\n' + stream(TIMED_USAGE), b'data: "finish_reason":"\n\n'),
        (stream(TIMED_USAGE, DONE), stream(DONE)),
    ],
    ids=["end", "content", "ping", "two choices", "there already", "no finish", "no object", "nothing before"],
)
def test_what_stands_beside_the_usage_moves_into_the_finish_that_came_with_it(came: bytes, passed: bytes) -> None:
    assert StreamTap("m", strip_usage=True).feed(came, 1.0) == passed


@pytest.mark.parametrize("cut", [0, 1, 3, 20])
def test_a_mark_of_byte_order_hides_no_event_from_the_client_or_us(cut: int) -> None:
    tap = StreamTap("mine", strip_usage=False)
    data = BOM + stream(text(b"a"), DONE)
    out = b"".join(tap.feed(piece, 1.0) for piece in (data[:cut], data[cut:]) if piece)
    assert out == stream(text(b"a", model=b"mine"), DONE)
    assert tap.first_content_s == 1.0


def test_a_finish_waits_for_nothing() -> None:
    tap = StreamTap("m", strip_usage=True)
    assert tap.feed(stream(*HELLO, FINISH), 1.0) == stream(*HELLO, FINISH)
    assert tap.feed(stream(TIMED_USAGE, DONE), 2.0) == stream(DONE)


@pytest.mark.parametrize("case", STREAMS)
def test_the_model_gets_the_name_that_was_asked_for(case: str) -> None:
    data, stripped, usage = STREAMS[case]
    for strip, passed in ((False, data), (True, stripped or data)):
        renamed = passed.replace(b'"model":"m"', b'"model":"an alias"')
        assert agreed(data, model="an alias", strip=strip) == Outcome(renamed, True, usage, False, True, True)


@pytest.mark.parametrize(
    "words",
    [
        b"[DONE]",
        b"data: [DONE]",
        b"\\n\\ndata: [DONE]\\n\\n",
        b"usage",
        b'\\"usage\\":{\\"prompt_tokens\\":9,\\"completion_tokens\\":9}',
        b'\\"choices\\":[],\\"usage\\":{\\"prompt_tokens\\":9}',
        b'\\"model\\":\\"m\\"',
        b"model",
        b"error",
        b'{\\"error\\":{\\"message\\":\\"x\\"}}',
        b"tokens_predicted",
        b"\\\\",
        b'\\"',
    ],
)
@pytest.mark.parametrize("place", ["first", "later", "last"])
def test_what_a_model_says_fools_nobody(words: bytes, place: str) -> None:
    said = text(words)
    order = {"first": (said, *HELLO), "later": (*HELLO, said, text(b"x")), "last": (*HELLO, said)}[place]
    data = stream(ROLE_ONLY, *order)
    for model in ("m", "alias"):
        renamed = data.replace(b'"model":"m"', b'"model":"%b"' % model.encode())
        assert agreed(data, model=model, strip=True) == Outcome(renamed, False, None, False, True, True)


def test_a_word_that_is_a_whole_content_fools_nobody_either() -> None:
    for word in (b"usage", b"error", b"model", b"choices"):
        data = stream(text(b"a"), delta(b'"content":"%b"' % word))
        assert agreed(data, model="x", strip=True)[1:4] == (False, None, False)


# the end


@pytest.mark.parametrize("done", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE] \r\n\r\n", b"data: [DONE]\n"])
def test_the_end_is_seen(done: bytes) -> None:
    found = agreed(stream(*HELLO) + done)
    assert found.is_done
    assert found.passed == stream(*HELLO) + done


@pytest.mark.parametrize("done", [b"data: [DONE]", b"data:[DONE]", b"data: [DONE]\r"])
def test_the_end_is_seen_though_its_line_is_not_ended(done: bytes) -> None:
    found = agreed(stream(*HELLO) + done)
    assert found.is_done
    assert found.passed == stream(*HELLO) + done


@pytest.mark.parametrize(
    "tail", [b"", b"data: [DONE", b"data: [DON", b"about[DONE]", b"[DONE]\n\n", b": [DONE]\n\n", b"data: [DONE]x\n\n"]
)
def test_a_stream_without_its_end_is_not_done(tail: bytes) -> None:
    assert not agreed(stream(*HELLO) + tail).is_done


@pytest.mark.parametrize(
    "half", [b"data: {", b'data: {"choices":[{"delta":{"content":"half', b"da", b": pi", b"data: "]
)
def test_half_a_line_is_dropped_when_the_stream_breaks_off(half: bytes) -> None:
    assert agreed(stream(*HELLO) + half).passed == stream(*HELLO)


def test_half_an_event_is_passed_on_when_its_line_is_whole() -> None:
    data = stream(*HELLO) + b"data: " + text(b"x") + b"\n"
    assert agreed(data).passed == data


@pytest.mark.parametrize(
    ("data", "carries_error"),
    [
        (stream(*HELLO, ERROR), True),
        (stream(*HELLO, ERROR, DONE), True),
        (stream(ERROR), True),
        (stream(*HELLO, ERROR, end=b"\r\n\r\n"), True),
        (stream(*HELLO, b'{"error":"text"}'), True),
        (stream(*HELLO) + b"event: error\n" + stream(ERROR), True),
        (stream(*HELLO, ERROR) + b": ping\n\n", True),
        (stream(*HELLO, ERROR, HELLO[0]), False),
        (stream(*HELLO, text(b"x", more=b',"error":null')), False),
        (stream(*HELLO, b'{"choices":[],"error"'), False),
        (stream(*HELLO), False),
        (b": ping\n\n", False),
    ],
)
def test_an_engines_own_last_error_is_known_for_one(data: bytes, carries_error: bool) -> None:
    assert agreed(data).carries_error is carries_error


# the time


def first_content(*payloads: bytes, is_chat: bool = True) -> int | None:
    """Which event was the first that counts, by its place."""
    tap = StreamTap("m", strip_usage=False, is_chat=is_chat)
    for place, payload in enumerate(payloads):
        tap.feed(event(payload), float(place))
    return None if tap.first_content_s is None else int(tap.first_content_s)


@pytest.mark.parametrize(
    "payload",
    [
        text(b"x"),
        text(b" "),
        text(b'\\"'),
        delta(b'"content" : "x"'),
        delta(b'"reasoning_content":"x"'),
        delta(b'"reasoning":"x"'),
        delta(b'"refusal":"x"'),
        delta(b'"content":null', finish=b'"length"'),
        delta(b'"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]'),
        delta(b'"tool_calls":[{"index":0,"function":{"arguments":"{"}}]'),
        b'{"choices":[{"text":"x","index":0,"finish_reason":null}],"model":"m"}',
        ERROR,
    ],
)
def test_the_first_content_is_what_somebody_can_use(payload: bytes) -> None:
    assert first_content(ROLE_ONLY, payload, text(b"more")) == 1


@pytest.mark.parametrize(
    "payload",
    [
        ROLE_ONLY,
        delta(b'"role":"assistant","content":""'),
        delta(b'"role":"assistant"'),
        delta(b'"content":null,"tool_calls":null', more=b',"usage":null'),
        delta(b'"content":""', more=b',"prompt_progress":{"total":9,"cache":0,"processed":3,"time_ms":1}'),
        b'{"choices":[{"text":"","index":0,"finish_reason":null}],"model":"m"}',
        b"",
        b"[DONE]",
    ],
)
def test_what_nobody_can_use_is_not_the_first_content(payload: bytes) -> None:
    assert first_content(payload) is None
    assert first_content(payload, payload, text(b"x")) == 2


def test_the_first_content_stays_the_first() -> None:
    late = delta(b'"content":"x"', finish=b'"stop"', more=b',"usage":{"completion_tokens":2}')
    assert first_content(ROLE_ONLY, text(b"x"), text(b"y"), late) == 1


def test_a_stream_that_is_no_chat_begins_with_its_first_event() -> None:
    assert first_content(b'{"type":"audio"}', is_chat=False) == 0
    assert first_content(DONE, is_chat=False) is None


def test_the_counts_of_a_native_stream_are_read() -> None:
    data = stream(
        b'{"content":"a","model":"m","stop":false,"tokens_predicted":1,"tokens_evaluated":3}',
        b'{"content":"","model":"m","stop":true,"tokens_predicted":2,"tokens_evaluated":3}',
    )
    assert agreed(data, is_chat=False) == Outcome(data, False, COUNTED, False, True, True)


def test_comments_and_blank_lines_are_no_sign_of_life() -> None:
    tap = StreamTap("m", strip_usage=False)
    tap.feed(b": ping\n\n", 1.0)
    assert tap.last_data_s is None
    tap.feed(event(text(b"x")), 2.0)
    for silence in (b": ping\n\n", b"\n", b":\n\n", b": pi", b"ng\n", b"event: x\n", b"\n"):
        tap.feed(silence, 3.0)
    assert tap.last_data_s == 2.0
    tap.feed(event(text(b"y")), 4.0)
    assert tap.last_data_s == 4.0


def test_half_an_event_waits_for_its_other_half_and_no_longer() -> None:
    tap = StreamTap("m", strip_usage=False)
    whole = event(text(b"x"))
    for _ in range(3):
        assert tap.feed(whole[:30], 1.0) == b""
        assert tap.feed(whole[30:] + whole[:9], 1.0) == whole
        assert tap.feed(whole[9:], 1.0) == whole


# the model's name


def test_the_name_is_looked_for_until_it_is_found() -> None:
    data = stream(b'{"choices":[{"delta":{"content":"model"}}]}', ERROR, text(b"x"), text(b"y"), DONE)
    assert agreed(data, model="alias").passed == data.replace(b'"model":"m"', b'"model":"alias"')


@pytest.mark.parametrize("written", [b'"model":"m"', b'"model" : "m"', b'"model":"\\u006d"'])
def test_a_name_that_is_right_is_left_as_it_is_written(written: bytes) -> None:
    data = stream(*[text(b"x").replace(b'"model":"m"', written) for _ in range(3)], DONE)
    assert agreed(data).passed == data


def test_a_stream_that_names_no_model_is_left_as_it_is() -> None:
    data = stream(b'{"type":"speech.audio.delta","audio":"AAAA"}', b'{"type":"speech.audio.done"}')
    assert agreed(data, model="alias", is_chat=False).passed == data


def test_several_events_in_one_piece_are_all_renamed() -> None:
    tap = StreamTap("alias", strip_usage=False)
    tap.feed(event(text(b"x")), 1.0)
    many = stream(*HELLO, *HELLO)
    assert tap.feed(many, 2.0) == many.replace(b'"model":"m"', b'"model":"alias"')


# long lines


def test_a_line_without_end_is_passed_on_in_parts() -> None:
    tap = StreamTap("m", strip_usage=True)
    head = b'data: {"choices":[{"delta":{"content":"'
    assert tap.feed(head, 1.0) == b""
    block = b"x" * (MAX_HELD_BYTES // 4)
    passed = b"".join([tap.feed(block, 2.0) for _ in range(5)])
    assert passed == head + 5 * block
    assert tap.feed(b"more", 3.0) == b"more"
    assert tap.last_data_s == 3.0
    end = b'data: [DONE]"}}],"usage":{"prompt_tokens":9}}\n\n'
    assert tap.feed(end, 4.0) == end
    assert not tap.is_done
    assert tap.usage is None
    assert tap.feed(stream(usage_only(), DONE), 5.0) == stream(DONE)
    assert tap.is_done
    assert tap.usage == COUNTED


@pytest.mark.parametrize("is_cut", [False, True])
def test_the_line_after_one_that_was_passed_on_in_parts_is_looked_at_again(is_cut: bool) -> None:
    tap = StreamTap("m", strip_usage=True)
    tap.feed(event(text(b"x")), 1.0)
    tap.feed(b'data: {"choices":[{"delta":{"content":"' + b"x" * MAX_HELD_BYTES, 1.0)
    rest, following = b'ddd"}}]}\n\n', stream(usage_only(), DONE)
    pieces = [rest, following] if is_cut else [rest + following]
    assert b"".join([tap.feed(piece, 1.0) for piece in pieces]) == rest + stream(DONE)


@pytest.mark.parametrize("size", [MAX_HELD_BYTES - 100, MAX_HELD_BYTES + 100])
@pytest.mark.parametrize("step", [70_000, 1 << 20])
def test_a_long_line_passes_whatever_its_parts(size: int, step: int) -> None:
    data = stream(ROLE_ONLY, text(b"x" * size), text(b"y"), usage_only(), DONE)
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    found = tapped(pieces, strip=True)
    assert found.passed == stream(ROLE_ONLY, text(b"x" * size), text(b"y"), DONE)
    assert found.is_done
    assert found.usage == COUNTED


def test_a_long_line_that_never_ends_is_no_end() -> None:
    tap = StreamTap("m", strip_usage=False)
    tap.feed(b"data: " + b"x" * (MAX_HELD_BYTES + 1), 1.0)
    assert tap.feed(b"data: [DONE]", 1.0) == b"data: [DONE]"
    assert not tap.is_done


# the fast path


def peak_bytes_of(tap: StreamTap, piece: bytes) -> int:
    """What feeding a piece a thousand times allocates at any moment."""
    tracemalloc.start()
    for _ in repeat(None, 1000):
        tap.feed(piece, 1.0)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak_bytes


@pytest.mark.parametrize("more", [b"", b',"usage":null'], ids=["llama.cpp", "mistral.rs"])
def test_the_fast_path_hands_on_the_very_same_bytes_and_allocates_nothing(more: bytes) -> None:
    piece = event(text(b"token" * 1000, more=more))
    tap = StreamTap("m", strip_usage=True)
    tap.feed(event(text(b"first", more=b',"usage":null')), 1.0)
    assert tap.feed(piece, 2.0) is piece
    assert tap.last_data_s == 2.0
    assert peak_bytes_of(tap, piece) < 1000


def test_a_stream_that_is_counted_in_every_chunk_is_looked_at_closely() -> None:
    tap = StreamTap("m", strip_usage=True)
    for count in range(1, 5):
        tap.feed(event(text(b"x", more=b',"usage":{"completion_tokens":%d}' % count)), 1.0)
        assert tap.usage == Usage(None, count, None)

"""What an engine said is the same, whatever its quirks, and whether it came as a stream or whole."""

import json

import pytest
from tests.unit.dialects.chat_engine import (
    CALLS_END,
    STOP,
    calling,
    chunk,
    dumped,
    piece,
    usage,
    usage_alone,
    whole,
)

from cortex.contract.error import ContextExceeded, EngineFailed, UpstreamBroken, UpstreamError
from cortex.dialects.chat_event import Called, ChatEvent, Counted, Failed, Finished, Reasoned, Said
from cortex.dialects.chat_reader import ChatReader, read_answer
from cortex.dialects.usage import Usage, plausible

CALL = Called(id="a", name="f", arguments='{"x":1}')
OTHER = Called(id="b", name="f", arguments='{"x":2}')


def read(*payloads: bytes) -> list[ChatEvent]:
    """Everything a stream says; texts that follow each other are joined."""
    reader = ChatReader()
    events = [event for payload in payloads for event in reader.feed(payload)] + reader.end()
    assert reader.end() == []
    joined: list[ChatEvent] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, Said) and isinstance(last, Said):
            joined[-1] = Said(last.text + event.text)
        elif isinstance(event, Reasoned) and isinstance(last, Reasoned):
            joined[-1] = Reasoned(last.text + event.text)
        else:
            joined.append(event)
    return joined


def said(*payloads: bytes) -> list[ChatEvent]:
    """All but the finish."""
    *events, finished = read(*payloads)
    assert finished == Finished(reason="stop")
    return events


def test_text_leaves_at_once() -> None:
    reader = ChatReader()
    assert reader.feed(chunk(role="assistant", content=None)) == []
    assert reader.feed(chunk(content="Hel")) == [Said("Hel")]
    assert reader.feed(chunk(content="lo ")) == [Said("lo ")]
    assert not reader.is_complete
    assert reader.feed(STOP) == []
    assert reader.is_complete
    assert reader.end() == [Finished(reason="stop")]


@pytest.mark.parametrize(
    "nothing",
    [
        b"",
        b"{}",
        chunk(),
        chunk(role="assistant"),
        chunk(content=""),
        chunk(content=None, reasoning_content="", reasoning=None),
        chunk(tool_calls=[]),
        chunk(tool_calls=None, function_call=None),
        b'{"choices":[]}',
        b'{"choices":null,"usage":null}',
        b'{"choices":[null]}',
        b'{"choices":[{}]}',
        b'{"choices":[{"delta":null}]}',
        b'{"prompt_progress":{"total":9,"processed":3}}',
        b'{"choices":[],"usage":{}}',
    ],
)
def test_a_chunk_that_says_nothing_is_nothing(nothing: bytes) -> None:
    assert read(nothing, chunk(content="a"), nothing, STOP, nothing) == [Said("a"), Finished(reason="stop")]


def test_content_beside_an_empty_list_of_calls_is_content() -> None:
    assert said(chunk(content="a", tool_calls=[]), STOP) == [Said("a")]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_under_either_name(field: str) -> None:
    assert said(chunk(**{field: "hm"}), chunk(content="a"), STOP) == [Reasoned("hm"), Said("a")]


def test_reasoning_under_both_names_is_said_once() -> None:
    assert said(chunk(reasoning_content="hm", reasoning="hm"), chunk(content="a"), STOP) == [Reasoned("hm"), Said("a")]


def test_reasoning_and_content_in_one_chunk_come_in_this_order() -> None:
    assert said(chunk(content="a", reasoning="hm"), STOP) == [Reasoned("hm"), Said("a")]


def test_reasoning_after_the_text_comes_after_it() -> None:
    assert said(chunk(content="a"), chunk(reasoning="hm"), chunk(content="b"), STOP) == [
        Said("a"),
        Reasoned("hm"),
        Said("b"),
    ]


def test_a_call_leaves_before_what_follows_it() -> None:
    events = read(
        calling(piece('{"x"', "f", "a")),
        calling(piece(":1}")),
        chunk(reasoning="hm"),
        calling(piece('{"x":2}', "f", "b", 1)),
        chunk(content="done"),
        STOP,
    )
    assert events == [CALL, Reasoned("hm"), OTHER, Said("done"), Finished(reason="stop")]


def test_blanks_between_calls_are_nothing() -> None:
    events = read(
        chunk(content="\n\n"),
        calling(piece('{"x":1}', "f", "a")),
        chunk(content="\n"),
        chunk(content=" \n"),
        calling(piece('{"x":2}', "f", "b", 1)),
        chunk(content="\n"),
        CALLS_END,
    )
    assert events == [CALL, OTHER, Finished(reason="tool_calls")]


def test_blanks_that_lead_a_text_belong_to_it() -> None:
    assert said(chunk(content="\n"), chunk(content=" "), chunk(content="a\n"), chunk(content="\n"), STOP) == [
        Said("\n a\n\n")
    ]
    assert read(calling(piece('{"x":1}', "f", "a")), chunk(content="\n"), chunk(content="a"), STOP)[1] == Said("\na")


def test_blanks_before_a_call_do_not_belong_to_a_text_after_it() -> None:
    assert said(chunk(content="\n\n"), calling(piece('{"x":1}', "f", "a")), chunk(content="a"), STOP) == [
        CALL,
        Said("a"),
    ]


@pytest.mark.parametrize(("after", "event"), [(chunk(content="b"), Said("b")), (chunk(reasoning="b"), Reasoned("b"))])
def test_a_call_in_fragments_leaves_before_what_follows_it(after: bytes, event: ChatEvent) -> None:
    assert said(calling(piece('{"x"', "f", "a")), calling(piece(":1}")), after, STOP) == [CALL, event]


def test_an_answer_of_blanks_is_those_blanks() -> None:
    assert said(chunk(content="\n"), chunk(content="\n"), STOP) == [Said("\n\n")]


def test_no_thoughts_are_none() -> None:
    assert said(chunk(reasoning_content="\n"), chunk(reasoning_content="\n"), chunk(content="a"), STOP) == [Said("a")]


def test_halves_of_a_character_are_joined_over_chunks() -> None:
    half = b'{"choices":[{"delta":{"%b":"\\u%b"}}]}'
    for field, kind in ((b"content", Said), (b"reasoning_content", Reasoned)):
        reader = ChatReader()
        assert reader.feed(half % (field, b"d83d")) == []
        assert reader.feed(half % (field, b"de00")) == [kind("😀")]


def test_half_a_character_at_the_end_is_a_replacement() -> None:
    assert said(chunk(content="a\ud83d"), STOP) == [Said("a\ufffd")]
    assert said(chunk(content="a\ud83d"), chunk(reasoning="b\ud83d"), STOP) == [Said("a\ufffd"), Reasoned("b\ufffd")]
    events = read(chunk(content="a\ud83d"), calling(piece('{"x":1}', "f", "a")), CALLS_END)
    assert events == [Said("a\ufffd"), CALL, Finished(reason="tool_calls")]


def test_a_half_character_in_arguments_is_joined_over_chunks() -> None:
    call = read(calling(piece('{"x":"\ud83d', "f", "a")), calling(piece('\ude00"}')), CALLS_END)[0]
    assert call == Called(id="a", name="f", arguments='{"x":"😀"}')


def test_the_old_way_to_call_is_a_call() -> None:
    events = read(
        chunk(function_call={"name": "f", "arguments": ""}),
        chunk(function_call={"arguments": '{"x"'}),
        chunk(function_call={"arguments": ":1}"}),
        chunk("function_call"),
    )
    assert events == [Called(id="", name="f", arguments='{"x":1}'), Finished(reason="function_call")]


def test_only_the_first_choice_counts() -> None:
    both = [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]
    other = dumped({"choices": [{"index": 1, "delta": {"content": "c"}, "finish_reason": "length"}]})
    assert said(dumped({"choices": both}), other, STOP) == [Said("a")]


def test_a_text_instead_of_a_delta_is_text() -> None:
    assert said(b'{"choices":[{"index":0,"text":"a"}]}', STOP) == [Said("a")]


def test_a_message_instead_of_a_delta_is_read() -> None:
    assert said(b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}') == [Said("a")]


def test_a_refusal_is_text() -> None:
    assert said(chunk(refusal="No."), STOP) == [Said("No.")]


def counts(prompt: int, completion: int, cached: int | None = None, reasoning: int | None = None) -> Counted:
    return Counted(
        usage=Usage(prompt, completion, prompt + completion), cached_tokens=cached, reasoning_tokens=reasoning
    )


@pytest.mark.parametrize("absurd", [-5, 10**30])
def test_counts_that_can_be_none_are_unknown(absurd: int) -> None:
    events = read(chunk(content="a"), STOP, usage_alone(prompt=absurd, completion=4, cached=absurd, reasoning=absurd))
    assert events[-1] == Finished(reason="stop")
    assert Counted(usage=Usage(None, 4, plausible(absurd + 4))) in events
    timed = read(chunk(content="a"), chunk("stop", {"timings": {"prompt_n": absurd, "predicted_n": 3}}))
    assert not [event for event in timed if isinstance(event, Counted)]


def test_no_more_tokens_are_cached_or_thought_than_there_are() -> None:
    assert counts(5, 4, 5, 4) in read(
        chunk(content="a"), STOP, usage_alone(prompt=5, completion=4, cached=50, reasoning=40)
    )


def test_usage_alone_is_counted() -> None:
    events = read(chunk(content="a"), STOP, usage_alone(prompt=9, completion=4, cached=3, reasoning=1))
    assert events == [Said("a"), counts(9, 4, 3, 1), Finished(reason="stop")]


def test_usage_on_every_chunk_comes_before_what_it_counts() -> None:
    events = [
        event for number in (1, 2) for event in ChatReader().feed(chunk(None, {"usage": usage(9, number)}, content="a"))
    ]
    assert events == [counts(9, 1), Said("a"), counts(9, 2), Said("a")]


def test_usage_in_the_finishing_chunk_and_in_the_choice_are_counted() -> None:
    assert read(chunk("stop", {"usage": usage(9, 4)}))[0] == counts(9, 4)
    in_choice = dumped({"choices": [{"delta": {}, "finish_reason": "stop", "usage": usage(9, 4)}]})
    assert read(in_choice)[0] == counts(9, 4)


def test_timings_stand_in_for_a_usage_that_does_not_come() -> None:
    timings = {"timings": {"prompt_n": 2, "cache_n": 7, "predicted_n": 4, "prompt_ms": 1.5}}
    assert read(chunk("stop", timings))[0] == counts(9, 4, 7)
    assert read(chunk("stop", timings), usage_alone(prompt=9, completion=5))[1] == counts(9, 5)
    assert read(chunk("stop", {**timings, "usage": usage(9, 5)}))[:-1] == [counts(9, 5)]
    assert read(chunk("stop", {"timings": {"prompt_n": 2}})) == [Finished(reason="stop")]


@pytest.mark.parametrize(
    ("members", "stop"),
    [
        ({"stop_sequence": "END"}, "END"),
        ({"stop_reason": "END"}, "END"),
        ({"matched_stop": "END"}, "END"),
        ({"stopping_word": "END"}, "END"),
        ({"stop_reason": None, "matched_stop": 151645}, None),
        ({"stopping_word": ""}, None),
    ],
)
def test_the_stop_sequence_is_known_where_the_engine_says_it(members: dict[str, object], stop: str | None) -> None:
    payload = dumped({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", **members}]})
    assert read(payload) == [Finished(reason="stop", stop=stop)]


def test_text_after_the_finish_comes_before_it() -> None:
    assert said(chunk("stop", content="a"), chunk(content="b")) == [Said("ab")]


def test_a_stream_without_a_finish_has_no_end() -> None:
    reader = ChatReader()
    reader.feed(chunk(content="a"))
    assert not reader.is_complete
    assert reader.end() == []


def test_a_cut_call_is_dropped_and_said() -> None:
    events = read(calling(piece('{"command": "rm -rf /da', "f", "a")), chunk("length"))
    assert events == [Finished(reason="length", has_cut_call=True)]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b'{"error":{"message":"CUDA out of memory","type":"server_error","code":500}}', "CUDA out of memory"),
        (b'{"error":"CUDA out of memory"}', "CUDA out of memory"),
        (b'{"message":"CUDA out of memory"}', "CUDA out of memory"),
        (b'{"object":"error","message":"CUDA out of memory","code":500}', "CUDA out of memory"),
        (b'{"detail":"CUDA out of memory"}', "CUDA out of memory"),
        (b"CUDA out of memory", "CUDA out of memory"),
        (chunk("error"), "error"),
        (chunk("abort"), "abort"),
        (chunk("canceled", content="x"), "canceled"),
    ],
)
def test_an_error_of_any_shape_ends_the_stream(payload: bytes, words: str) -> None:
    reader = ChatReader()
    reader.feed(chunk(content="a"))
    event = reader.feed(payload)[-1]
    assert isinstance(event, Failed)
    assert isinstance(event.error, UpstreamError)
    assert words in event.error.message
    assert not reader.is_complete
    assert reader.feed(STOP) == []
    assert reader.end() == []


def test_a_prompt_too_long_is_told_as_such() -> None:
    error = {"message": "m", "type": "exceed_context_size_error", "code": 400, "n_prompt_tokens": 9, "n_ctx": 8}
    (event,) = ChatReader().feed(dumped({"error": error}))
    assert isinstance(event, Failed)
    assert isinstance(event.error, ContextExceeded)


# whole answers


def test_a_whole_answer_says_what_its_stream_would() -> None:
    calls = [piece('{"x":1}', "f", "a"), piece({"x": 2}, "f", "b", 1)]
    body = whole("tool_calls", reasoning_content="hm", content="I see.", tool_calls=calls)
    stream = read(
        chunk(reasoning_content="h"),
        chunk(reasoning_content="m"),
        chunk(content="I "),
        chunk(content="see."),
        calling(calls[0]),
        calling(calls[1]),
        CALLS_END,
        usage_alone(),
    )
    assert sorted(map(repr, read_answer(body))) == sorted(map(repr, stream))
    assert read_answer(body)[1:] == [Reasoned("hm"), Said("I see."), CALL, OTHER, Finished(reason="tool_calls")]


def test_a_whole_answer_without_a_finish_is_over_all_the_same() -> None:
    assert read_answer(whole(None, content="a"))[-1] == Finished(reason="stop")


def test_an_answer_without_a_word_is_one() -> None:
    assert read_answer(whole(content=None))[1:] == [Finished(reason="stop")]


def test_an_old_function_call_in_a_whole_answer_is_a_call() -> None:
    events = read_answer(whole("function_call", content=None, function_call={"name": "f", "arguments": '{"x":1}'}))
    assert events[1] == Called(id="", name="f", arguments='{"x":1}')


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"choices":[]}', b'{"choices":[{"index":0}]}', b'{"choices":[{"index":1}]}']
)
def test_an_answer_without_a_message_is_none(body: bytes) -> None:
    with pytest.raises(UpstreamBroken, match="no message"):
        read_answer(body)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"message":"no"}', json.dumps({"error": "no"}).encode()])
def test_an_answer_that_is_an_error_or_no_json_is_raised(body: bytes) -> None:
    with pytest.raises(EngineFailed):
        read_answer(body)


def test_a_whole_answer_that_was_given_up_is_raised() -> None:
    with pytest.raises(EngineFailed, match="abort"):
        read_answer(whole("abort", content="a"))

"""Anthropic's own SDK: it cannot tell what answers it from the original."""

import asyncio
import time

import anthropic
import pytest
from pydantic import BaseModel
from tests.integration.client.conftest import DEMO, ClientFleet
from tests.integration.client.scripted_engine import (
    BUSY,
    CRASH,
    OVERFLOW,
    SCRIPTED,
    breaks_after,
    calls,
    calls_raw,
    refuses,
    says,
)

from cortex.gateway.edge_error import RETRY_AFTER_S
from cortex.neuron.harness.llamacpp import DEFAULT_CONTEXT_TOKENS

HELLO = {"model": DEMO, "max_tokens": 24, "messages": [{"role": "user", "content": "Hello"}]}
ASK = {**HELLO, "model": SCRIPTED}
WEATHER = {
    "name": "get_weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Reading(BaseModel):
    ok: bool
    size: int


@pytest.fixture
def client(fleet: ClientFleet):
    with anthropic.Anthropic(base_url=fleet.url, api_key="none", max_retries=0) as sdk:
        yield sdk


# the real engine


def test_a_message_and_its_stream_are_the_same(client: anthropic.Anthropic) -> None:
    same = {**HELLO, "extra_body": {"temperature": 0}}
    answer = client.messages.create(**same)
    with client.messages.stream(**same) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert answer.content[0].text == "".join(pieces) == final.content[0].text
    assert len(pieces) > 1
    assert answer.usage.output_tokens == final.usage.output_tokens > 0
    assert answer.stop_reason == final.stop_reason
    assert answer.model == final.model == DEMO
    assert answer._request_id
    assert stream.request_id


def test_tokens_are_counted_as_the_message_uses_them(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model=DEMO, messages=HELLO["messages"], system="Be brief.")
    answer = client.messages.create(**HELLO, system="Be brief.")
    used = answer.usage
    assert counted.input_tokens == used.input_tokens + (used.cache_read_input_tokens or 0)


def test_a_real_answer_has_the_shape_that_was_asked_for(client: anthropic.Anthropic) -> None:
    answer = client.messages.parse(**{**HELLO, "max_tokens": 300}, output_format=Reading)
    assert isinstance(answer.parsed_output, Reading)


def test_many_asynchronous_streams_at_once(fleet: ClientFleet) -> None:
    async def run() -> list:
        async with anthropic.AsyncAnthropic(base_url=fleet.url, auth_token="none", max_retries=0) as sdk:

            async def one():
                async with sdk.messages.stream(**HELLO) as stream:
                    return await stream.get_final_message()

            return await asyncio.gather(*[one() for _ in range(8)])

    assert all(message.stop_reason in ("end_turn", "max_tokens") for message in asyncio.run(run()))


# tools


def test_parallel_calls_their_results_and_an_error_go_round(fleet: ClientFleet, client: anthropic.Anthropic) -> None:
    wanted = (("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Bergen"}))
    for is_stream in (False, True):
        fleet.engine.use(calls(*wanted, text="I look."), says("It rains."))
        messages = [{"role": "user", "content": "Weather?"}]
        asked = {"model": SCRIPTED, "max_tokens": 99, "tools": [WEATHER]}
        if is_stream:
            with client.messages.stream(**asked, messages=messages) as stream:
                answer = stream.get_final_message()
        else:
            answer = client.messages.create(**asked, messages=messages)
        assert [block.type for block in answer.content] == ["text", "tool_use", "tool_use"]
        assert answer.stop_reason == "tool_use"
        first, second = answer.content[1:]
        assert (first.name, first.input) == wanted[0]
        assert (second.name, second.input) == wanted[1]
        assert first.id != second.id
        results = [
            {"type": "tool_result", "tool_use_id": second.id, "content": "no such city", "is_error": True},
            {"type": "tool_result", "tool_use_id": first.id, "content": [{"type": "text", "text": "rain"}]},
            {"type": "text", "text": "And?"},
        ]
        turns = [*messages, {"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
        assert client.messages.create(**asked, messages=turns).content[0].text == "It rains."
        sent = fleet.engine.last["messages"]
        assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool", "user"]
        assert [call["id"] for call in sent[1]["tool_calls"]] == [sent[2]["tool_call_id"], sent[3]["tool_call_id"]]
        assert (sent[2]["content"], sent[3]["content"]) == ("rain", "Error: no such city")


def test_the_tool_runner_runs_to_the_end(fleet: ClientFleet, client: anthropic.Anthropic) -> None:
    fleet.engine.use(calls(("get_weather", {"city": "Oslo"})), says("It rains in Oslo."))
    asked = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Tell the weather of a city."""
        asked.append(city)
        return "rain"

    runner = client.beta.messages.tool_runner(**{**ASK, "max_tokens": 99}, tools=[get_weather])
    assert runner.until_done().content[0].text == "It rains in Oslo."
    assert asked == ["Oslo"]
    assert fleet.engine.last["messages"][-1]["content"] == "rain"


def test_a_call_that_was_cut_is_never_executed(fleet: ClientFleet, client: anthropic.Anthropic) -> None:
    fleet.engine.use(calls_raw(("get_weather", '{"city": "Os'), finish="length"))
    with client.messages.stream(**ASK, tools=[WEATHER]) as stream:
        answer = stream.get_final_message()
    assert answer.stop_reason == "max_tokens"
    assert not [block for block in answer.content if block.type == "tool_use"]
    fleet.engine.use(calls_raw(("get_weather", '{"city": "Os')))
    for is_stream in (False, True):
        with pytest.raises(anthropic.InternalServerError, match="must not be executed"):
            client.messages.create(**ASK, tools=[WEATHER], stream=is_stream)


# thinking and structure


def test_thinking_is_streamed_and_goes_back_as_it_came(fleet: ClientFleet, client: anthropic.Anthropic) -> None:
    fleet.engine.use(says("Four.", reasoning="Two and two."), says("Yes."))
    asked = {**ASK, "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    with client.messages.stream(**asked) as stream:
        answer = stream.get_final_message()
    thinking, text = answer.content
    assert (thinking.thinking, text.text) == ("Two and two.", "Four.")
    assert thinking.signature
    turns = [*ASK["messages"], {"role": "assistant", "content": answer.content}, {"role": "user", "content": "Sure?"}]
    client.messages.create(**{**asked, "messages": turns})
    assert fleet.engine.last["messages"][1]["reasoning_content"] == "Two and two."


def test_a_schema_reaches_the_engine_and_its_answer_is_parsed(fleet: ClientFleet, client: anthropic.Anthropic) -> None:
    fleet.engine.use(says('{"ok": true,', ' "size": 3}'))
    assert client.messages.parse(**ASK, output_format=Reading).parsed_output == Reading(ok=True, size=3)
    asked = fleet.engine.last["response_format"]
    assert asked["type"] == "json_schema"
    assert set(asked["json_schema"]["schema"]["properties"]) == {"ok", "size"}


# models


def test_models_are_listed_page_by_page_and_told_one_by_one(client: anthropic.Anthropic) -> None:
    listed = [model.id for model in client.models.list(limit=1)]
    assert {DEMO, SCRIPTED} <= set(listed)
    assert len(listed) == len(set(listed))
    model = client.models.retrieve(DEMO)
    assert (model.id, model.type) == (DEMO, "model")
    assert model.display_name
    client.messages.create(**HELLO)
    assert client.models.retrieve(DEMO).max_input_tokens == DEFAULT_CONTEXT_TOKENS, "as its engine was started"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("lab/nothing")


# errors


@pytest.mark.parametrize(
    ("change", "kind", "type_"),
    [
        ({"model": "lab/nothing"}, anthropic.NotFoundError, "not_found_error"),
        ({"max_tokens": -1}, anthropic.BadRequestError, "invalid_request_error"),
        ({"messages": [{"role": "user", "content": 7}]}, anthropic.BadRequestError, "invalid_request_error"),
    ],
    ids=["unknown model", "negative max_tokens", "a number for a text"],
)
def test_what_the_caller_got_wrong_has_its_class(client: anthropic.Anthropic, change: dict, kind, type_: str) -> None:
    with pytest.raises(kind) as caught:
        client.messages.create(**{**ASK, **change})
    assert caught.value.body["error"]["type"] == type_
    assert caught.value.request_id == caught.value.body["request_id"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        ("400 Bad Request", OVERFLOW, anthropic.BadRequestError, "prompt is too long: 9000 tokens > 4096 maximum"),
        ("503 Service Unavailable", BUSY, anthropic.OverloadedError, "overloaded_error"),
        ("500 Internal Server Error", CRASH, anthropic.InternalServerError, "api_error"),
    ],
    ids=["overflow", "busy", "crash"],
)
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_what_an_engine_refuses_has_its_class(
    fleet: ClientFleet, client: anthropic.Anthropic, status: str, body: dict, kind, words: str, is_stream: bool
) -> None:
    fleet.engine.use(refuses(status, body))
    with pytest.raises(kind, match=words):
        client.messages.create(**ASK, stream=is_stream)


def test_a_stream_that_is_cut_is_an_error_and_never_a_short_answer(fleet, client: anthropic.Anthropic) -> None:
    fleet.engine.use(breaks_after("Half an"))
    with client.messages.stream(**ASK) as stream, pytest.raises(anthropic.APIStatusError) as caught:
        stream.get_final_message()
    assert caught.value.body["error"]["type"] == "api_error"


def test_a_busy_fleet_is_asked_again_when_it_said(fleet: ClientFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    fleet.engine.use(refuses("503 Service Unavailable", BUSY), says("Now there is room."))
    with anthropic.Anthropic(base_url=fleet.url, api_key="none", max_retries=1) as sdk:
        assert sdk.messages.create(**ASK).content[0].text == "Now there is room."
    assert waits == [RETRY_AFTER_S]


def test_what_will_not_go_away_is_not_asked_again(fleet: ClientFleet) -> None:
    fleet.engine.use(refuses("400 Bad Request", OVERFLOW))
    with (
        anthropic.Anthropic(base_url=fleet.url, api_key="none", max_retries=2) as sdk,
        pytest.raises(anthropic.BadRequestError) as caught,
    ):
        sdk.messages.create(**ASK)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert fleet.engine.request_count == 1

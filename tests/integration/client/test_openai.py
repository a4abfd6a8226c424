"""OpenAI's own SDK speaks chat: what engines answer comes through it as from OpenAI. Responses: ``test_responses``."""

import asyncio
import json
import time

import openai
import pytest
from pydantic import BaseModel
from tests.integration.client.conftest import DEMO, ClientFleet
from tests.integration.client.scripted_engine import BUSY, OVERFLOW, SCRIPTED, breaks_after, calls, refuses, says

ASK = {"model": SCRIPTED, "messages": [{"role": "user", "content": "Weather?"}]}
HELLO = {"model": DEMO, "max_tokens": 24, "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Reading(BaseModel):
    ok: bool
    size: int


@pytest.fixture
def client(fleet: ClientFleet):
    with openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


# the real engine


def test_an_answer_and_its_stream_are_the_same(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**HELLO)
    chunks = list(client.chat.completions.create(**HELLO, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert answer.choices[0].message.content == "".join(pieces)
    assert len(pieces) > 1
    assert answer.usage.completion_tokens == chunks[-1].usage.completion_tokens
    assert answer._request_id


def test_a_real_answer_has_the_shape_that_was_asked_for(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(**{**HELLO, "max_tokens": 300}, response_format=Reading)
    assert isinstance(answer.choices[0].message.parsed, Reading)


def test_many_asynchronous_streams_at_once(fleet: ClientFleet) -> None:
    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{fleet.url}/v1", api_key="none", max_retries=0) as sdk:

            async def one() -> str:
                stream = await sdk.chat.completions.create(**HELLO, stream=True)
                return [chunk.choices[0].finish_reason async for chunk in stream][-1]

            return await asyncio.gather(*[one() for _ in range(8)])

    assert set(asyncio.run(run())) <= {"stop", "length"}


# tools


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_parallel_calls_and_their_results_go_round(fleet: ClientFleet, client: openai.OpenAI, is_stream: bool) -> None:
    wanted = [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Bergen"})]
    fleet.engine.use(calls(*wanted), says("It rains."))
    if is_stream:
        with client.chat.completions.stream(**ASK, tools=[WEATHER]) as stream:
            choice = stream.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.parse(**ASK, tools=[WEATHER]).choices[0]
    assert choice.finish_reason == "tool_calls"
    made = choice.message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in made] == wanted
    results = [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in made]
    answer = client.chat.completions.create(
        **{**ASK, "messages": [*ASK["messages"], choice.message.to_dict(), *results]}, tools=[WEATHER]
    )
    assert answer.choices[0].message.content == "It rains."
    assert [message["role"] for message in fleet.engine.last["messages"]] == ["user", "assistant", "tool", "tool"]


# models


def test_models_are_listed_and_told_one_by_one(client: openai.OpenAI) -> None:
    assert {DEMO, SCRIPTED} <= {model.id for model in client.models.list()}
    model = client.models.retrieve(DEMO)
    assert (model.id, model.object) == (DEMO, "model")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("lab/nothing")
    assert caught.value.code == "model_not_found"


# errors


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        ({"model": "lab/nothing"}, openai.NotFoundError, "model_not_found"),
        ({"model": ""}, openai.BadRequestError, "model_missing"),
        ({"model": 7}, openai.BadRequestError, "malformed_request"),
    ],
    ids=["unknown model", "no model", "a number for a model"],
)
def test_what_the_caller_got_wrong_has_its_class(client: openai.OpenAI, change: dict, kind, code: str) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{**ASK, **change})
    assert caught.value.code == code
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("400 Bad Request", OVERFLOW, openai.BadRequestError),
        ("503 Service Unavailable", BUSY, openai.InternalServerError),
    ],
    ids=["overflow", "busy"],
)
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_what_an_engine_refuses_has_its_class(
    fleet: ClientFleet, client: openai.OpenAI, status: str, body: dict, kind, is_stream: bool
) -> None:
    fleet.engine.use(refuses(status, body))
    with pytest.raises(kind):
        client.chat.completions.create(**ASK, stream=is_stream)


def test_a_stream_that_is_cut_is_an_error_and_never_a_short_answer(fleet: ClientFleet, client: openai.OpenAI) -> None:
    fleet.engine.use(breaks_after("Half an"))
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(**ASK, stream=True))
    assert caught.value.code == "upstream_broken"


def test_a_busy_fleet_is_asked_again(fleet: ClientFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    fleet.engine.use(refuses("503 Service Unavailable", BUSY), says("Now there is room."))
    with openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="none", max_retries=1) as sdk:
        answer = sdk.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "Now there is room."
    assert len(waits) == 1

"""Ollama's own Python client, against a fleet that has no Ollama in it."""

import asyncio
import contextlib

import ollama
import pytest
from pydantic import BaseModel
from tests.integration.client.conftest import DEMO, ClientFleet
from tests.integration.client.scripted_engine import SCRIPTED, breaks_after, calls, refuses, says

MESSAGES = [{"role": "user", "content": "Weather?"}]
SAME = {"temperature": 0, "num_predict": 24}


class Closing(ollama.AsyncClient):
    """Closes as the standard library expects it."""

    aclose = ollama.AsyncClient.close


class Reading(BaseModel):
    ok: bool
    size: int


@pytest.fixture
def client(fleet: ClientFleet):
    with contextlib.closing(ollama.Client(host=fleet.url)) as sdk:
        yield sdk


# the real engine


def test_a_chat_and_its_stream_are_the_same(client: ollama.Client) -> None:
    answer = client.chat(DEMO, MESSAGES, options=SAME)
    parts = list(client.chat(DEMO, MESSAGES, options=SAME, stream=True))
    assert answer.message.content == "".join(part.message.content or "" for part in parts)
    assert len(parts) > 2
    assert (answer.done, answer.done_reason) == (True, parts[-1].done_reason)
    assert answer.eval_count == parts[-1].eval_count > 0


def test_text_is_generated_and_embedded(client: ollama.Client) -> None:
    answer = client.generate(DEMO, "Once", options=SAME)
    assert answer.response == "".join(
        part.response for part in client.generate(DEMO, "Once", options=SAME, stream=True)
    )
    vectors = client.embed(DEMO, ["one", "two"]).embeddings
    assert len(vectors) == 2
    assert len(vectors[0]) == len(vectors[1]) > 0


def test_a_real_answer_has_the_shape_that_was_asked_for(client: ollama.Client) -> None:
    answer = client.chat(DEMO, MESSAGES, format=Reading.model_json_schema(), options={"num_predict": 300})
    assert Reading.model_validate_json(answer.message.content)


def test_many_asynchronous_streams_at_once(fleet: ClientFleet) -> None:
    async def run() -> list:
        async with contextlib.aclosing(Closing(host=fleet.url)) as sdk:

            async def one():
                return [part async for part in await sdk.chat(DEMO, MESSAGES, options=SAME, stream=True)][-1]

            return await asyncio.gather(*[one() for _ in range(8)])

    assert all(last.done for last in asyncio.run(run()))


# tools


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_parallel_calls_and_their_results_go_round(fleet: ClientFleet, client: ollama.Client, is_stream: bool) -> None:
    def get_weather(city: str) -> str:
        """Tell the weather of a city."""
        return f"rain in {city}"

    fleet.engine.use(calls(("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Bergen"})), says("It rains."))
    said = client.chat(SCRIPTED, MESSAGES, tools=[get_weather], stream=is_stream)
    messages = [part.message for part in said] if is_stream else [said.message]
    made = [call for message in messages for call in message.tool_calls or ()]
    results = [
        {"role": "tool", "tool_name": call.function.name, "content": get_weather(**call.function.arguments)}
        for call in made
    ]
    answer = client.chat(SCRIPTED, [*MESSAGES, *messages[: -1 if is_stream else None], *results], tools=[get_weather])
    assert answer.message.content == "It rains."
    sent = fleet.engine.last["messages"]
    assert [message["content"] for message in sent if message["role"] == "tool"] == ["rain in Oslo", "rain in Bergen"]


def test_thinking_is_told_apart(fleet: ClientFleet, client: ollama.Client) -> None:
    fleet.engine.use(says("Four.", reasoning="Two and two."))
    message = client.chat(SCRIPTED, MESSAGES, think=True).message
    assert (message.thinking, message.content) == ("Two and two.", "Four.")


# models


def test_models_are_listed_shown_and_told_when_loaded(client: ollama.Client) -> None:
    client.chat(DEMO, MESSAGES, options=SAME)
    assert {DEMO, SCRIPTED} <= {model.model for model in client.list().models}
    assert {DEMO, SCRIPTED} <= {model.model for model in client.ps().models}
    assert "completion" in client.show(DEMO).capabilities


# errors


def test_what_is_wrong_is_said_with_its_status(fleet: ClientFleet, client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="lab/nothing") as caught:
        client.chat("lab/nothing", MESSAGES)
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as caught:
        client.show("lab/nothing")
    assert caught.value.status_code == 404
    fleet.engine.use(refuses("503 Service Unavailable", {"error": {"code": 503, "message": "slots busy"}}))
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(SCRIPTED, MESSAGES)
    assert caught.value.status_code == 503


def test_a_stream_that_is_cut_is_an_error_and_never_a_short_answer(fleet: ClientFleet, client: ollama.Client) -> None:
    fleet.engine.use(breaks_after("Half an"))
    with pytest.raises(ollama.ResponseError):
        list(client.chat(SCRIPTED, MESSAGES, stream=True))

"""OpenAI's own SDK speaks Responses: it cannot tell what answers it from the original."""

import asyncio
import time

import openai
import pytest
from pydantic import BaseModel
from tests.integration.client.conftest import DEMO, ClientFleet
from tests.integration.client.scripted_engine import SCRIPTED, breaks_after, calls, calls_raw, refuses, says

ASK = {"model": SCRIPTED, "input": "Weather?"}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Patches."}

LIMIT_S = 30


class Reading(BaseModel):
    ok: bool
    size: int


@pytest.fixture
def client(fleet: ClientFleet):
    with openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


# the real engine


def test_a_response_and_its_stream_are_the_same(client: openai.OpenAI) -> None:
    same = {"model": DEMO, "input": "Hello", "max_output_tokens": 24, "temperature": 0}
    answer = client.responses.create(**same)
    with client.responses.stream(**same) as stream:
        kinds = [event.type for event in stream]
    final = client.responses.retrieve(answer.id)
    assert answer.output_text == final.output_text
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.count("response.output_text.delta") > 1
    assert kinds[-1] == f"response.{answer.status}"
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0


def test_a_real_answer_has_the_shape_that_was_asked_for(client: openai.OpenAI) -> None:
    answer = client.responses.parse(model=DEMO, input="Hello", max_output_tokens=300, text_format=Reading)
    assert isinstance(answer.output_parsed, Reading)


def test_many_asynchronous_streams_at_once(fleet: ClientFleet) -> None:
    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{fleet.url}/v1", api_key="none", max_retries=0) as sdk:

            async def one() -> str:
                stream = await sdk.responses.create(model=DEMO, input="Hello", max_output_tokens=8, stream=True)
                return [event.type async for event in stream][-1]

            return await asyncio.gather(*[one() for _ in range(8)])

    assert set(asyncio.run(run())) <= {"response.completed", "response.incomplete"}


# tools


def test_calls_and_their_results_go_round_by_the_id_of_the_response(fleet: ClientFleet, client: openai.OpenAI) -> None:
    wanted = (("get_weather", {"city": "Oslo"}), ("apply_patch", {"input": "*** Begin"}))
    for is_stream in (False, True):
        fleet.engine.use(calls(*wanted, text="I look."), says("It rains."))
        if is_stream:
            with client.responses.stream(**ASK, tools=[WEATHER, PATCH]) as stream:
                first = stream.get_final_response()
        else:
            first = client.responses.create(**ASK, tools=[WEATHER, PATCH])
        assert [item.type for item in first.output] == ["message", "function_call", "custom_tool_call"]
        asked, own = first.output[1:]
        assert (asked.arguments, own.input) == ('{"city":"Oslo"}', "*** Begin")
        results = [
            {"type": "function_call_output", "call_id": asked.call_id, "output": "rain"},
            {"type": "custom_tool_call_output", "call_id": own.call_id, "output": "patched"},
        ]
        second = client.responses.create(
            model=SCRIPTED, previous_response_id=first.id, input=results, tools=[WEATHER, PATCH]
        )
        assert second.output_text == "It rains."
        told = fleet.engine.last["messages"]
        assert [message["role"] for message in told] == ["user", "assistant", "tool", "tool"]
        assert [message["content"] for message in told[2:]] == ["rain", "patched"]


def test_a_call_that_broke_off_is_never_heard_of(fleet: ClientFleet, client: openai.OpenAI) -> None:
    fleet.engine.use(calls_raw(("get_weather", '{"city": "Os')))
    for is_stream in (False, True):
        with pytest.raises(openai.APIStatusError) as caught:
            client.responses.create(**ASK, tools=[WEATHER], stream=is_stream)
        assert caught.value.status_code == 502


def test_a_response_in_the_background_runs_on_and_is_found_when_it_is_over(
    fleet: ClientFleet, client: openai.OpenAI
) -> None:
    fleet.engine.use(says("It rains."))
    made = client.responses.create(**ASK, background=True)
    assert made.status == "queued"
    found = made
    deadline = time.monotonic() + LIMIT_S
    while found.status in ("queued", "in_progress") and time.monotonic() < deadline:
        found = client.responses.retrieve(made.id)
    assert (found.status, found.output_text) == ("completed", "It rains.")
    assert client.responses.cancel(made.id).to_dict() == found.to_dict()


# what is kept


def test_a_response_is_kept_listed_and_deleted(fleet: ClientFleet, client: openai.OpenAI) -> None:
    fleet.engine.use(says("It rains."))
    made = client.responses.create(**ASK, metadata={"a": "b"})
    assert client.responses.retrieve(made.id).to_dict() == made.to_dict()
    (item,) = client.responses.input_items.list(made.id)
    assert item.content[0].text == "Weather?"
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        client.responses.cancel(made.id)
    client.responses.delete(made.id)
    for gone in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError) as caught:
            gone(made.id)
        assert caught.value.code == "response_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**ASK, previous_response_id=made.id)
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")


def test_nothing_is_kept_where_nothing_is_to_be(fleet: ClientFleet, client: openai.OpenAI) -> None:
    fleet.engine.use(says("It rains."))
    made = client.responses.create(**ASK, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


# errors


def test_an_error_is_the_sdks_own_and_names_the_place(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=SCRIPTED, input=[{"role": "user", "content": [{"type": "input_audio"}]}])
    assert caught.value.param == "input.0.content.0.type"
    assert caught.value.request_id


def test_what_an_engine_cannot_take_has_openais_code(fleet: ClientFleet, client: openai.OpenAI) -> None:
    message = "the request exceeds the available context size"
    error = {
        "code": 400,
        "message": message,
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 9000,
        "n_ctx": 4096,
    }
    fleet.engine.use(refuses("400 Bad Request", {"error": error}))
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**ASK, stream=True)
    assert caught.value.code == "context_length_exceeded"


def test_an_engine_that_is_gone_fails_the_response(fleet: ClientFleet, client: openai.OpenAI) -> None:
    fleet.engine.use(breaks_after("It ", "rai"))
    events = list(client.responses.create(**ASK, stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.code == "server_error"
    assert events[-1].response.output[0].content[0].text == "It rai"

"""What a fleet refuses for its own sake: the callers' limit, and no node at all, in the words of both SDKs."""

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai
import pytest
from tests.integration.client.scripted_engine import SCRIPTED, says, scripted_engine
from tests.integration.gateway.hostile_engine import Turn
from tests.integration.gateway.real_fleet import gateway, wait_until

from cortex.contract.profile import Profile

PROFILES = (Profile(id=SCRIPTED, harness="llamacpp", vram_mb=1000),)
ASK = {"model": SCRIPTED, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9}


@contextlib.contextmanager
def both(url: str) -> Iterator[tuple[openai.OpenAI, anthropic.Anthropic]]:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as one,
        anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as other,
    ):
        yield one, other


def test_no_healthy_node_is_told_as_such_and_to_be_asked_again() -> None:
    with gateway("http://127.0.0.1:9", PROFILES) as running, both(running.url) as (one, other):
        with pytest.raises(openai.InternalServerError) as told:
            one.chat.completions.create(**ASK)
        assert (told.value.status_code, told.value.code) == (503, "no_healthy_node")
        with pytest.raises(anthropic.APIStatusError) as said:
            other.messages.create(**ASK)
        assert (said.value.status_code, said.value.body["error"]["type"]) == (503, "api_error")
        for error in (told, said):
            assert error.value.response.headers["x-should-retry"] == "true"
            assert int(error.value.response.headers["retry-after"]) >= 1


def test_a_caller_who_asks_for_too_much_at_once_is_told_so() -> None:
    go_on = asyncio.Event()

    async def holds(turn: Turn) -> None:
        await turn.body()
        await go_on.wait()
        await says("At last.")(turn)

    with (
        scripted_engine(parallel=1) as engine,
        gateway(engine.neuron.url, PROFILES, max_waiting_per_caller=1) as running,
        both(running.url) as (one, other),
        ThreadPoolExecutor(2) as pool,
    ):
        engine.use(holds)
        first = pool.submit(one.chat.completions.create, **ASK)
        wait_until(lambda: engine.request_count == 1)
        second = pool.submit(other.messages.create, **ASK)
        wait_until(lambda: running.in_flight() == 2)
        try:
            with pytest.raises(openai.RateLimitError) as told:
                one.chat.completions.create(**ASK)
            assert told.value.code == "too_many_requests"
            with pytest.raises(anthropic.RateLimitError) as said:
                other.messages.create(**ASK)
            assert said.value.body["error"]["type"] == "rate_limit_error"
        finally:
            engine.loop.call_soon_threadsafe(go_on.set)
        assert first.result().choices[0].message.content == "At last."
        assert second.result().content[0].text == "At last."

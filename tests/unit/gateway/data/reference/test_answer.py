"""Answers are what the document says, member by member: those of pages are asked for, those of dialects made."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.unit.dialects.chat_engine import chunk, dumped, piece, usage, whole
from tests.unit.fleet.builder import Fleet, a_profile, a_report
from tests.unit.gateway.data.reference.schema_checker import SCHEMAS, check
from tests.unit.gateway.data.rig import Answer, rig

from cortex.contract.node import DeviceReading, Health
from cortex.dialects.engine import LLAMACPP
from cortex.dialects.interface import Keep, Mint
from cortex.fleet.event import NodeSampled
from cortex.gateway.control.reads import FleetReader
from cortex.gateway.data.reference.answer import ANSWERS
from cortex.gateway.data.reference.operation import operations
from cortex.gateway.data.route import INFERENCE
from cortex.testing.virtual_clock import VirtualClock

ANSWER_OF = {operation.path: operation.answer for operation in operations() if operation.method != "DELETE"}

PAGES = {
    "/": b"GET",
    "/health": b"GET",
    "/livez": b"GET",
    "/readyz": b"GET",
    "/v1/models": b"GET",
    "/v1/models/{id}": b"GET",
    "/v1/messages/count_tokens": b"POST",
    "/v1/responses/{id}": b"GET",
    "/v1/responses/{id}/cancel": b"POST",
    "/v1/responses/{id}/input_items": b"GET",
    "/api/tags": b"GET",
    "/api/ps": b"GET",
    "/api/show": b"POST",
    "/api/version": b"GET",
}
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


class Reads:
    """The fleet as the gateway really reads it, in the place of the rig's."""

    def __init__(self) -> None:
        fleet = Fleet(["a"], [a_profile("m", aliases=("gpt",), context=4096, capabilities=("vision",)), a_profile("n")])
        fleet.sample("a", a_report("m", devices=(0,)))
        reading = DeviceReading(index=0, vram_used_mb=9000, utilization_pct=12.0)
        health = Health(uptime_secs=1, devices=(reading,))
        fleet.tell(NodeSampled(node="a", health=health, models=(a_report("m"),), asked_s=fleet.now_s, event=9))
        self.reader = FleetReader(fleet.dispatcher, VirtualClock(fleet.now_s))


def a_response() -> tuple[str, Keep]:
    translate = INFERENCE[b"/v1/responses"].dialect.translate
    assert translate is not None
    body = dumped({"model": "m", "input": "hi", "background": True})
    translation = translate(body, a_mint())
    translation.body(LLAMACPP, "m", None)
    translation.reply(whole(content="Hello"))
    kept = translation.keep(None)
    assert kept is not None
    return kept.id, kept


def a_mint() -> Mint:
    numbers = iter(range(1000))
    return Mint(epoch_s=1e9, new_id=lambda prefix: f"{prefix}{next(numbers):024d}", elapsed_s=lambda: 2.0)


def asked(method: bytes, path: str, body: bytes) -> Answer:
    answers: list[Answer] = []

    async def run() -> None:
        with rig() as it:
            reader = Reads().reader
            for name in ("model_entries", "health", "place_of", "is_ready"):
                setattr(it.fleet, name, getattr(reader, name))
            response_id, kept = a_response()
            await it.shelf.put(kept)
            of = response_id if "responses" in path else "m"
            client = it.request(method, path.replace("{id}", of).encode())
            client.body(body)
            client.end()
            await it.plane.tasks.over()
            answers.append(client.answer)

    asyncio.run(run())
    return answers[0]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_answers_as_it_says(path: str) -> None:
    answer = asked(PAGES[path], path, BODY if PAGES[path] == b"POST" else b"")
    assert answer.status == 200, answer.body
    check(msgspec.json.decode(answer.body), ANSWER_OF[path])


def test_what_is_deleted_is_said_to_be() -> None:
    check(msgspec.json.decode(asked(b"DELETE", "/v1/responses/{id}", b"").body), "DeletedResponse")


def test_every_page_with_an_answer_was_asked() -> None:
    with_answer = {one.path for one in operations() if one.route is None and one.answer}
    assert with_answer == set(PAGES)


CALL = {"name": "weather", "description": "", "parameters": {"type": "object"}}
SAID = {
    "text": {"content": "Hello"},
    "reasoning and text": {"content": "Hello", "reasoning_content": "Hm"},
    "a call": {"content": None, "tool_calls": [piece('{"city":"Rome"}', "weather", "call_1")]},
}
FINISHES = ("stop", "length", "content_filter")
COUNTED = {"usage": usage(cached=3, reasoning=2), "timings": {"prompt_ms": 1.0, "predicted_ms": 2.0}}

ASKED: dict[str, dict[str, Any]] = {
    "/v1/messages": {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
    },
    "/v1/responses": {"model": "m", "input": "hi", "tools": [{"type": "function", "name": "weather"}]},
    "/api/chat": {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": CALL}],
    },
    "/api/generate": {"model": "m", "prompt": "hi"},
}


def answers(path: str) -> Iterator[Any]:
    """What a dialect makes of whatever an engine may say, whole and, where its streams are whole objects, in pieces."""
    translate = INFERENCE[path.encode()].dialect.translate
    assert translate is not None
    for message in SAID.values():
        for finish in ("tool_calls",) if "tool_calls" in message else FINISHES:
            translation = translate(dumped(ASKED[path]), a_mint())
            translation.body(LLAMACPP, "m", 4096)
            yield msgspec.json.decode(translation.reply(whole(finish, COUNTED, **message)))
            writer = translation.writer()
            lines = writer.feed(chunk(**message)) + writer.feed(chunk(finish, COUNTED)) + writer.end()
            if INFERENCE[path.encode()].dialect.name == "ollama":
                yield from map(msgspec.json.decode, lines.splitlines())


@pytest.mark.parametrize("path", ASKED)
def test_a_dialect_answers_as_it_says(path: str) -> None:
    made = list(answers(path))
    for answer in made:
        check(answer, ANSWER_OF[path])


@pytest.mark.parametrize("path", ASKED)
def test_every_member_of_an_answer_comes_at_some_time(path: str) -> None:
    named = set(SCHEMAS[ANSWER_OF[path]]["properties"])
    come = {name for answer in answers(path) for name in answer}
    assert named - come <= {"status"}


def test_a_sign_of_life_of_ollamas_is_a_piece_of_an_answer() -> None:
    for path in ("/api/chat", "/api/generate"):
        check(msgspec.json.decode(INFERENCE[path.encode()].dialect.heartbeat("loading on beast", "m")), ANSWER_OF[path])


def test_no_answer_is_named_that_is_not_there() -> None:
    assert {name for name in ANSWER_OF.values() if name} <= set(ANSWERS)

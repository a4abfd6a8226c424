"""Activity, history and engine logs of a whole gateway over real sockets, by HTTP and by command."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from tests.integration.gateway.hostile_engine import SSE_HEAD, Turn, chunk, event, good
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Scene, scene, until
from typer.testing import CliRunner

from cortex.cli.command import app
from cortex.gateway.admin.operation import PREFIX
from cortex.testing.fake_neuron import FakeLog

LOGS = f"/nodes/n0/models/{MODEL}/logs"


async def is_silent_after_content(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD + chunk(event("a")))
    await turn.until_lost()


async def get(it: Scene, path: str) -> Any:
    answer = await it.get(PREFIX + path)
    assert answer.status == 200, answer.body
    return answer.json()


async def run(it: Scene, *argv: str) -> tuple[int, str]:
    """Run a command while the gateway goes on."""
    env = {"CORTEX_URL": f"http://127.0.0.1:{it.gateway.port}"}
    result = await asyncio.to_thread(CliRunner().invoke, app, argv, env=env)
    return result.exit_code, result.output


@scene(good, loaded=False)
async def test_a_cold_request_is_seen_with_the_decision_that_loaded_its_model(it: Scene) -> None:
    assert (await it.ask(ASK, "x-request-id: mine")).status == 200
    page = await get(it, "/activity?running=false")
    (seen,) = page["finished"]
    assert (seen["request_id"], seen["model"], seen["node"]) == ("mine", MODEL, "n0")
    assert (seen["outcome"], seen["status"], seen["caller"]) == ("ok", 200, "127.0.0.1")
    assert seen["cold_start"]
    decisions = (await get(it, "/decisions?kind=placement"))["decisions"]
    assert (seen["why"]["number"], seen["why"]["reason"]) == (decisions[-1]["number"], decisions[-1]["reason"])
    assert seen["why"]["load_s"] is not None
    assert (page["newest"], page["next"], page["gap"]) == (1, 1, False)
    assert (await get(it, f"/activity?since=1&model={MODEL}"))["finished"] == []


@scene(good, loaded=False)
async def test_a_request_that_waits_is_seen_with_what_it_waits_for(it: Scene) -> None:
    it.neuron.load_gate.clear()
    async with it.client() as client:
        await client.ask({**ASK_STREAM, "model": "short"})
        await until(lambda: it.neuron.count("POST /models/load") == 1)
        await until(lambda: it.dispatcher.view(0.0).models[0].loading_on is not None)
        page = await get(it, "/activity")
        (seen,) = page["running"]
        assert (seen["state"], seen["model"], seen["node"], page["running_count"]) == ("loading", MODEL, "n0", 1)
        assert seen["why"]["kind"] == "placement"
        assert seen["outlook"]
        it.neuron.load_gate.set()
        assert (await client.answer()).status == 200
    assert (await get(it, "/activity"))["running"] == []


@scene(is_silent_after_content)
async def test_a_stream_under_way_is_seen_until_its_client_leaves(it: Scene) -> None:
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        await client.head()
        await client.piece()
        (seen,) = (await get(it, "/activity"))["running"]
        assert (seen["state"], seen["node"], seen["stream"], seen["attempts"]) == ("streaming", "n0", True, 1)
        assert seen["first_token_s"] >= 0
        client.vanish()
    await it.at_rest()
    (seen,) = (await get(it, "/activity?outcome=client_gone"))["finished"]
    assert seen["first_token_s"] is not None


@scene(good)
async def test_figures_of_the_last_hour_are_told(it: Scene) -> None:
    assert (await it.ask()).status == 200
    it.gateway._activity.historian.look()
    told = await get(it, "/history?metric=requests_per_s,in_flight&span=1h")
    assert (told["span"], told["step_s"]) == ("1h", 10.0)
    assert {len(series["values"]) for series in told["series"]} <= {360}
    answer = await it.get(f"{PREFIX}/history?metric=requests_per_m")
    assert (answer.status, "did you mean" in answer.json()["error"]["message"]) == (400, True)


@scene(good)
async def test_a_log_is_told_and_followed_and_its_reader_may_leave(it: Scene) -> None:
    log = it.neuron.logs[MODEL] = FakeLog("one", "two")
    assert await get(it, f"{LOGS}?lines=1") == {"model": MODEL, "node": "n0", "lines": ["two"]}
    async with it.client() as client:
        await client.ask(b"", path=f"{PREFIX}{LOGS}?follow=true", method="GET")
        head = await client.head()
        assert (head.status, head.header("content-type")) == (200, "text/event-stream; charset=utf-8")
        assert b'{"lines":["one","two"]}' in await client.piece()
        log.write("three")
        assert b'{"lines":["three"]}' in await client.piece()
        assert log.readers == 1
        client.vanish()
    await log.until_followed_by(0)
    await until(lambda: it.gateway._control.logs.readers == 0)


@scene(good)
async def test_a_log_that_is_followed_ends_with_its_engine(it: Scene) -> None:
    log = it.neuron.logs[MODEL] = FakeLog("one")
    log.end()
    answer = await it.get(f"{PREFIX}{LOGS}?follow=true")
    *_, kind, data = answer.body.decode().strip().splitlines()
    assert kind == "event: end"
    assert json.loads(data.removeprefix("data: "))["code"] == ""


@pytest.mark.parametrize("follow", ["", "?follow=true"])
@scene(good)
async def test_a_log_that_cannot_be_had_is_refused_with_the_reason(it: Scene, follow: str) -> None:
    unknown = await it.get(f"{PREFIX}/nodes/n7/models/{MODEL}/logs{follow}")
    assert (unknown.status, unknown.json()["error"]["code"]) == (404, "node_not_found")
    unknown = await it.get(f"{PREFIX}/nodes/n0/models/org/n/logs{follow}")
    assert (unknown.status, unknown.json()["error"]["code"]) == (404, "model_not_found")
    bad = await it.get(f"{PREFIX}{LOGS}?lines=0")
    assert bad.status == 400


@scene(good)
async def test_what_a_neuron_refuses_is_told_before_and_within_a_stream(it: Scene) -> None:
    refused = await it.get(f"{PREFIX}{LOGS}")
    assert (refused.status, refused.json()["error"]["details"]["cause"]) == (409, "model_not_found")
    followed = await it.get(f"{PREFIX}{LOGS}?follow=true")
    end = msgspec.json.decode(followed.body.decode().partition("data: ")[2].strip())
    assert end["code"] == "node_refused"
    assert end["reason"].startswith("n0 refused: no model")


@scene(good)
async def test_the_command_prints_what_there_is_and_what_comes(it: Scene) -> None:
    log = it.neuron.logs[MODEL] = FakeLog("one", "two\x1b[2J")
    assert await run(it, "logs", "short") == (0, "one\ntwo?[2J\n")
    following = asyncio.ensure_future(run(it, "logs", MODEL, "--follow", "--node", "n0", "-n", "1"))
    await log.until_followed_by(1)
    log.write("three")
    log.end()
    assert await following == (0, "two?[2J\nthree\n")
    code, out = await run(it, "logs", "nothing")
    assert (code, "No model named 'nothing' is known" in out) == (1, True)


@scene(good)
async def test_a_gateway_that_stops_ends_the_logs_that_are_followed(it: Scene) -> None:
    log = it.neuron.logs[MODEL] = FakeLog("one")
    following = asyncio.ensure_future(it.get(f"{PREFIX}{LOGS}?follow=true"))
    await log.until_followed_by(1)
    it.gateway._activity.close()
    assert b"event: end" in (await following).body

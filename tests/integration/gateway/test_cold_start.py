"""A model that is loaded nowhere: its first requests cause one load, wait for it, and hear what came of it."""

import msgspec
import pytest
from tests.integration.gateway.hostile_engine import DONE, Turn, json_answer
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Scene, scene, until

from cortex.contract.instance import InstanceError
from cortex.testing.fake_neuron import Refused

OOM = InstanceError(code="out_of_memory", message="CUDA error: out of memory", log_tail=("line 1", "line 2"))

NO_ROOM = Refused(409, "no_room", "needs 9000 MiB, 100 MiB are free")


@scene(loaded=False)
async def test_a_cold_model_is_loaded_on_first_use_and_once_for_twenty(it: Scene) -> None:
    it.neuron.load_gate.clear()
    clients = []
    async with it.client() as first:
        await first.ask(ASK)
        await it.neuron.until(lambda: it.neuron.loads != [])
        for _ in range(19):
            client = it.client()
            clients.append((client, await client.__aenter__()))
            await clients[-1][1].ask(ASK)
        await until(lambda: it.dispatcher.waiting() == 20)
        it.neuron.load_gate.set()
        assert (await first.answer()).status == 200
        for leaving, client in clients:
            assert (await client.answer()).status == 200
            await leaving.__aexit__(None, None, None)
    assert it.neuron.count("POST /models/load") == 1
    assert all(record.cold_start for record in it.records)
    assert await it.metric("cortex_cold_starts_total", model=MODEL, node="n0") == 20


@scene(loaded=False, heartbeat_after_s=0.01)
async def test_a_waiting_stream_gets_comments_until_its_model_is_loaded(it: Scene) -> None:
    it.neuron.load_gate.clear()
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        head = await client.head()
        assert (head.status, head.header("content-type")) == (200, "text/event-stream")
        assert (await client.piece()).startswith(b":")
        it.neuron.load_gate.set()
        rest = await client.body()
    assert rest.endswith(DONE)
    assert rest.count(b'"hel"') == 1


@scene(loaded=False, heartbeat_after_s=0.01)
async def test_a_waiting_request_without_a_stream_gets_its_status_when_there_is_one(it: Scene) -> None:
    it.neuron.load_gate.clear()
    async with it.client() as unstreamed, it.client() as streamed:
        await unstreamed.ask(ASK)
        await streamed.ask(ASK_STREAM)
        assert (await streamed.head()).status == 200
        assert (await streamed.piece()).startswith(b":"), "the clock has been looked at"
        it.neuron.load_gate.set()
        assert (await unstreamed.answer()).header("content-type") == "application/json"
        await streamed.body()


@scene(loaded=False, heartbeat_after_s=0.01)
async def test_an_engines_refusal_after_heartbeats_is_the_streams_last_event(it: Scene) -> None:
    async def refuses(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(b'{"error":{"code":400,"message":"too long"}}', "400 Bad Request"))

    it.use(refuses)
    it.neuron.load_gate.clear()
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        assert (await client.head()).status == 200
        assert (await client.piece()).startswith(b":")
        it.neuron.load_gate.set()
        rest = await client.body()
    assert rest.split(b"\n\n")[-2] == b'data: {"error":{"code":400,"message":"too long"}}'
    assert DONE not in rest


@scene(loaded=False)
async def test_a_load_that_fails_is_503_in_the_engines_own_words(it: Scene) -> None:
    it.neuron.load_failures.extend((OOM, OOM))
    answer = await it.ask()
    assert answer.status == 503
    error = answer.error()
    assert (error["type"], error["code"]) == ("unavailable_error", "load_failed")
    assert "CUDA error: out of memory" in error["message"]
    assert error["details"]["log_tail"] == ["line 1", "line 2"]
    assert answer.header("retry-after") is not None
    assert await it.metric("cortex_request_errors_total", model=MODEL, node="n0") == 1
    assert it.neuron.count("POST /models/load") == 2, "out of memory is tried once more, with more room"


@scene(loaded=False)
async def test_a_load_that_ran_out_of_memory_once_is_served_by_the_second(it: Scene) -> None:
    it.neuron.load_failures.append(OOM)
    assert (await it.ask()).status == 200
    first, second = it.neuron.loads
    assert (second.vram_mb or 0) > (first.vram_mb or 0)


@scene(loaded=False, heartbeat_after_s=0.01)
async def test_a_load_that_fails_after_heartbeats_is_the_streams_last_event(it: Scene) -> None:
    it.neuron.load_failures.extend((OOM, OOM))
    it.neuron.load_gate.clear()
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        assert (await client.head()).status == 200
        assert (await client.piece()).startswith(b":")
        it.neuron.load_gate.set()
        rest = await client.body()
    last = rest.split(b"\n\n")[-2]
    assert msgspec.json.decode(last.removeprefix(b"data: "))["error"]["code"] == "load_failed"


@scene(loaded=False)
async def test_a_load_for_which_there_is_no_room_just_now_is_tried_again(it: Scene) -> None:
    it.neuron.load_refusals.append(NO_ROOM)
    assert (await it.ask()).status == 200
    assert it.neuron.count("POST /models/load") == 2


@scene(loaded=False, unstreamed_wait_s=0.05)
async def test_a_load_for_which_there_is_never_room_is_503_and_says_what_it_waits_for(it: Scene) -> None:
    it.neuron.load_refusals.extend([NO_ROOM] * 1000)
    answer = await it.ask()
    assert answer.status == 503
    assert answer.header("retry-after") is not None
    assert answer.error()["code"] in ("model_loading", "no_room")


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["whole", "stream"])
@scene(loaded=False, load_timeout_s=0.05, unstreamed_wait_s=0.05)
async def test_a_load_that_takes_too_long_is_503_and_goes_on(it: Scene, ask: dict) -> None:
    it.neuron.load_gate.clear()
    answer = await it.ask(ask)
    assert answer.status == 503
    assert answer.error()["code"] in ("model_loading", "load_failed")
    assert it.neuron.models[MODEL].status == "loading"
    it.neuron.load_gate.set()


@scene(loaded=False, poll_s=0.02)
async def test_a_model_that_was_unloaded_is_loaded_again_by_the_next_request(it: Scene) -> None:
    assert (await it.ask()).status == 200
    first = it.neuron.models[MODEL].generation
    it.neuron.put(MODEL, "unloaded", devices=())
    samples = it.neuron.count("POST /leases")
    await it.neuron.until(lambda: it.neuron.count("POST /leases") >= samples + 2)
    assert (await it.ask()).status == 200
    assert it.neuron.models[MODEL].generation == first + 1
    assert it.neuron.count("POST /models/load") == 2


@scene(loaded=False)
async def test_a_model_that_nobody_loaded_by_its_alias_is_loaded_under_its_id(it: Scene) -> None:
    assert (await it.ask({**ASK, "model": "short"})).status == 200
    assert [load.model_id for load in it.neuron.loads] == [MODEL]

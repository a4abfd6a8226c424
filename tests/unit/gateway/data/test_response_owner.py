"""What a key has kept is there for that key alone: read, gone on from, listed, cancelled and deleted."""

import asyncio

import msgspec
import pytest
from tests.unit.gateway.data.rig import Rig, rig, whole
from tests.unit.gateway.data.test_key_door import record, with_keys

from cortex.contract.key import Key
from cortex.dialects.interface import Keep, Need
from cortex.gateway.data.need import NeedFetcher
from cortex.gateway.data.response_owner import OwnRunning, OwnShelf, name_for
from cortex.gateway.data.response_shelf import MemoryShelf
from cortex.gateway.ports import ShelfLimit

ALICE, BOB = (Key(id=f"key_{name}", name=name, shown="ctx-") for name in ("alice", "bob"))
HERS, HIS = (b"authorization", b"Bearer hers"), (b"authorization", b"Bearer his")
REPLY = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
PATHS = (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", ""))


class Runs:
    """Implements ``Running``: all of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopped: list[str] = []

    def runs(self, response_id: str) -> bool:
        return response_id == self.name

    def record(self, response_id: str) -> bytes | None:
        return b"{}" if self.runs(response_id) else None

    def stop(self, response_id: str) -> None:
        self.stopped.append(response_id)


async def status(it: Rig, method: str, path: str, who: tuple[bytes, bytes]) -> int:
    client = it.request(method.encode(), path.encode(), who)
    client.end()
    for _ in range(30):
        await asyncio.sleep(0)
    return int(client.answer.status)


@pytest.mark.parametrize("background", [b"true", b"false"], ids=["in the background", "at once"])
def test_another_key_is_told_that_there_is_no_such_response_and_cannot_end_it(background: bytes) -> None:
    async def run() -> None:
        with rig() as it:
            with_keys(it, record(b"hers", id="key_1", name="alice"), record(b"his", id="key_2", name="bob"))
            it.plane.keep = it.background.keep
            it.leases.next(it.place())
            body = b'{"model":"m","input":"hi","background":' + background + b"}"
            client = it.post(body, HERS, path=b"/v1/responses")
            it.upstream.accept().say(whole(REPLY))
            for _ in range(30):
                await asyncio.sleep(0)
            path = f"/v1/responses/{msgspec.json.decode(client.answer.body)['id']}"
            assert [await status(it, method, path + more, HIS) for method, more in PATHS] == [404] * 4
            stolen = path.replace("/resp_", "/key_1%2Fresp_")
            assert [await status(it, method, stolen + more, HIS) for method, more in PATHS] == [404] * 4
            assert await status(it, "GET", path, HERS) == 200
            assert await status(it, "DELETE", path, HERS) == 200
            assert await status(it, "GET", path, HERS) == 404
            await it.tasks.stop()

    asyncio.run(run())


def test_a_request_goes_on_only_from_what_its_own_key_has_kept() -> None:
    async def run() -> None:
        shelf = MemoryShelf(ShelfLimit(), lambda: 0.0)
        await OwnShelf(shelf, ALICE).put(Keep(id="resp_1", record=b"hers"))
        fetcher, need = NeedFetcher(None, shelf), Need(kind="response", ref="resp_1")  # type: ignore[arg-type]
        assert [await fetcher.fetch(need, key) for key in (ALICE, BOB, None)] == [b"hers", None, None]
        stolen = Need(kind="response", ref="key_alice/resp_1")
        assert [await fetcher.fetch(stolen, key) for key in (BOB, None)] == [None, None]
        assert await OwnShelf(shelf, BOB).age_s("resp_1") is None
        assert not await OwnShelf(shelf, None).delete("key_alice/resp_1")
        assert await OwnShelf(shelf, ALICE).age_s("resp_1") == 0.0

    asyncio.run(run())


def test_what_runs_is_seen_and_stopped_by_its_own_key_alone() -> None:
    running = Runs(name_for("resp_1", ALICE))
    for key, is_hers in ((ALICE, True), (BOB, False), (None, False)):
        own = OwnRunning(running, key)
        assert (own.runs("resp_1"), own.record("resp_1") is not None) == (is_hers, is_hers)
        assert not own.runs("key_alice/resp_1")
        own.stop("resp_1")
    assert running.stopped == ["key_alice/resp_1", "key_bob/resp_1", "resp_1"]

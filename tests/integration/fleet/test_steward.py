"""What a fleet of real engines does unasked: preloads, replica counts, restarts of worn engines, nodes cleared.

Nothing that somebody asks for meanwhile may fail: every test that moves something does it under traffic.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest
from tests.integration.fleet.crowd import answers, crowd, until
from tests.integration.fleet.fleet import Fleet, Node, entry, fleet

WORN_AFTER = 3
STEWARD = f"""
access_log = false
scale_after_s = 1
scale_idle_s = 4
lost_after_s = 1

[eviction]
defrag_after_cycles = {WORN_AFTER}
defrag_idle_s = 1
"""
NODES = {"a": (9000,), "b": (9000,), "c": (9000,)}


@pytest.fixture(scope="module")
def it(tmp_path_factory, quick, slow) -> Iterator[Fleet]:
    models = [
        entry("lab/first", quick, 1000, preload=True),
        entry("lab/kept", quick, 1000, min_replicas=2),
        entry("lab/grows", slow, 1000, max_replicas=2, parallel=1),
        entry("lab/used", quick, 1000),
        entry("lab/other", quick, 1000),
    ]
    with fleet(tmp_path_factory.mktemp("steward") / "fleet", NODES, models, gateway=STEWARD) as running:
        yield running


class Traffic:
    """Somebody who asks for models in turn, one request after the other, and notes every answer."""

    def __init__(self, it: Fleet, *models: str) -> None:
        self._it = it
        self._models = models
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.statuses: list[int] = []

    def _ask(self) -> None:
        while not self._is_over.is_set():
            for model in self._models:
                self.statuses.append(self._it.gateway.ask(model)[0])

    def start(self) -> None:
        self._thread.start()
        self._it.wait_until(lambda: len(self.statuses) > len(self._models))

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()


@contextlib.contextmanager
def traffic(it: Fleet, *models: str) -> Iterator[Traffic]:
    """Ask for models all the time; all of it must have been answered well."""
    asks = Traffic(it, *models)
    asks.start()
    try:
        yield asks
    finally:
        asks.stop()
    assert set(asks.statuses) == {200}, asks.statuses


def cycles(node: Node) -> int:
    return next(harness["cycles"] for harness in node.neuron.get("/health")[1]["harnesses"])


def wear(it: Fleet, node: Node, times: int = WORN_AFTER) -> None:
    """Load and unload a model until the harness is due for a restart; what may be anywhere makes room for it."""
    for model in ("lab/first", "lab/grows"):
        if model in node.loaded():
            assert node.neuron.unload(model)[0] == 200
    while cycles(node) < times:
        node.load(it.catalogue["lab/other"])
        assert node.neuron.unload("lab/other")[0] == 200


def maintain(node: Node, on: bool) -> None:
    assert node.neuron.get("/maintenance", {"on": on})[0] == 200


def test_what_is_to_be_preloaded_and_kept_is_there_before_anybody_asks(it):
    it.wait_until(lambda: len(it.where("lab/first")) == 1 and len(it.where("lab/kept")) == 2)
    assert it.gateway.metric("cortex_requests_total") == 0
    assert (it.loads("lab/first"), it.loads("lab/kept")) == (1, 2)
    assert it.where("lab/used") == []


def test_a_model_that_is_waited_for_grows_and_shrinks_again(it):
    async def run() -> None:
        async with crowd(it.gateway, ["lab/grows"] * 6, max_tokens=120) as clients:
            await until(lambda: len(it.where("lab/grows")) == 2)
            assert {answer.status for answer in await answers(clients)} == {200}

    asyncio.run(run())
    it.wait_until(lambda: len(it.where("lab/grows")) == 1)
    assert it.loads("lab/grows") == 2
    assert "requests wait, for" in it.gateway.log


def test_a_node_is_taken_out_of_service_and_back_without_a_failed_request(it):
    with traffic(it, "lab/used", "lab/kept") as asks:
        (source,) = it.where("lab/used")
        maintain(it.node(source), True)
        it.wait_until(lambda: not it.node(source).loaded())
        assert source not in it.where("lab/used")
        assert len(it.where("lab/kept")) == 2
        before = len(asks.statuses)
        it.wait_until(lambda: len(asks.statuses) > before + 10)
        maintain(it.node(source), False)
    assert f"steward: load of lab/used on {it.where('lab/used')[0]}: {source} is in maintenance" in it.gateway.log


def test_a_worn_engine_is_restarted_under_traffic_without_a_failed_request(it):
    assert it.gateway.ask("lab/used")[0] == 200
    source, *others = (it.node(name) for name in it.where("lab/used"))
    for other in others:
        assert other.neuron.unload("lab/used")[0] == 200
    before = it.gateway.decisions()
    with traffic(it, "lab/used"):
        wear(it, source)
        it.wait_until(lambda: cycles(source) < WORN_AFTER)
        (there,) = set(it.where("lab/used")) - {source.name}
        told, home = it.gateway.decided(before), source.name
        leaves = [number for number, (kind, _, at) in enumerate(told) if at == home and kind in ("unload", "restart")]
        assert told.index(("load", "lab/used", there)) < leaves[0], told
    assert f"llamacpp on {source.name} has unloaded" in it.gateway.log


def test_replicas_that_are_lost_with_their_node_are_replaced(it):
    it.wait_until(lambda: len(it.where("lab/kept")) == 2)
    lost, left = it.where("lab/kept")
    with traffic(it, "lab/kept"):
        gone = it.nodes.pop(lost)
        gone.process.kill()
        gone.process.wait()
        it.wait_until(lambda: len(it.where("lab/kept")) == 2)
    assert left in it.where("lab/kept")


def test_without_another_place_a_restart_waits_for_quiet_says_so_and_brings_back_what_was_there(tmp_path, quick):
    models = [entry("lab/used", quick, 6000), entry("lab/other", quick, 3000)]
    with fleet(tmp_path / "fleet", {"a": (12_000,), "b": (4000,)}, models, gateway=STEWARD) as it:
        node, other = it.node("a"), it.node("b")
        with traffic(it, "lab/used"):
            wear(it, node, WORN_AFTER + 1)
            wear(it, other)
            it.wait_until(lambda: cycles(other) == 0)
            told = it.gateway.decided()
            assert {at for kind, _, at in told if kind in ("unload", "restart")} == {"b"}, "the other one is the worse"
        it.wait_until(lambda: cycles(node) == 0)
        assert "lab/used cannot be had until that is over" in it.gateway.log
        assert it.gateway.ask("lab/used")[0] == 200
        it.wait_until(lambda: node.loaded() == {"lab/used"})
        assert node.loads("lab/used") == 2


def test_when_the_steward_is_killed_another_gateway_clears_the_node_that_it_had_begun_to_clear(tmp_path, quick):
    models = [entry("lab/kept", quick, 1000, min_replicas=1), entry("lab/used", quick, 1000)]
    shared = f'{STEWARD}\n[store]\nurl = "sqlite:///{tmp_path}/store.db"\n'
    with fleet(tmp_path / "fleet", {"a": (9000,), "b": (9000,)}, models, gateways=2, gateway=shared) as it:
        it.wait_until(lambda: len(it.where("lab/kept")) == 1)
        assert it.gateway.ask("lab/used")[0] == 200
        (source,) = it.where("lab/used")
        maintain(it.node(source), True)
        (steward,) = (gateway for gateway in it.gateways if gateway.metric("cortex_steward"))
        it.gateways.remove(steward)
        steward.kill()
        with traffic(it, "lab/used", "lab/kept"):
            it.wait_until(lambda: it.gateway.metric("cortex_steward") == 1)
            it.wait_until(lambda: not it.node(source).loaded())
        assert source not in it.where("lab/used") + it.where("lab/kept")

"""What the gateway, its models and its nodes were like in the last hours: looks every ten seconds, and answers.

In memory, of this gateway, since it started. Nothing is looked at for it on the way of a request.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import get_args

from cortex.contract.error import MalformedRequest, ModelNotFound, NodeNotFound
from cortex.contract.history import History, HistoryMetric, HistoryQuery
from cortex.fleet.resolve import describe_unknown, describe_unknown_node
from cortex.fleet.view import FleetView, NodeView
from cortex.gateway.admin.name import model_table
from cortex.gateway.admin.series import GRAINS, METRICS, Key, Level, Look, add_up
from cortex.gateway.ports import FleetAdmin, Tally, Traffic
from cortex.kit.clock import Clock
from cortex.kit.strict import did_you_mean

KNOWN: tuple[HistoryMetric, ...] = get_args(HistoryMetric)
LOOK_S = GRAINS["1h"].step_s
WHOLE: Key = ("gateway", "")

log = logging.getLogger(__name__)


class Historian:
    """Looks, remembers, tells."""

    def __init__(
        self,
        fleet: FleetAdmin,
        traffic: Traffic,
        clock: Clock,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fleet = fleet
        self._traffic = traffic
        self._clock = clock
        self._sleep = sleep
        self._levels = {span: Level(grain, clock.now_s()) for span, grain in GRAINS.items()}

    async def run(self) -> None:
        """Look at the end of every step, until cancelled."""
        while True:
            end_s = (self._clock.now_s() // LOOK_S + 1) * LOOK_S
            while (left_s := end_s - self._clock.now_s()) > 0:  # a loop may wake up a little early
                await self._sleep(left_s)
            try:
                self.look()
            except Exception:  # a defect of ours must not end it
                log.exception("looking at the fleet for its history")

    def look(self) -> None:
        """Take down what went on since the last look, and what is to be seen now."""
        now_s, view = self._clock.now_s(), self._fleet.view()
        tallies = dict(_tallies(self._traffic.take()))
        looks = dict(_looks(view))
        for level in self._levels.values():
            level.add(now_s, tallies, looks)

    def tell(self, query: HistoryQuery) -> History:
        """Answer. Raises: MalformedRequest, ModelNotFound, NodeNotFound."""
        now_s, level = self._clock.now_s(), self._levels[query.span]
        kind = "model" if query.model is not None else "node" if query.node is not None else query.by or "gateway"
        if query.by not in (None, kind) or (query.model is not None and query.node is not None):
            raise MalformedRequest("Ask for one model, or for one node, or by one of them.", param="by")
        metrics = [metric for metric in _metrics(query.metric) if metric in METRICS[kind]]
        keys = self._keys(query, level) if kind != "gateway" else [WHOLE]
        return History(
            span=query.span,
            step_s=level.grain.step_s,
            start_epoch_s=round(self._clock.epoch_s() - now_s + level.start_s(now_s), 3),
            series=tuple(level.series(keys, metrics, now_s)),
        )

    def _keys(self, query: HistoryQuery, level: Level) -> list[Key]:
        view = self._fleet.view()
        if query.model is not None:
            table = model_table(view)
            if query.model not in table:
                raise ModelNotFound(describe_unknown(query.model, table), model=query.model)
            return [("model", table[query.model])]
        if query.node is not None:
            nodes = [node.name for node in view.nodes]
            if query.node not in nodes:
                raise NodeNotFound(describe_unknown_node(query.node, nodes), node=query.node)
            return [("node", query.node)]
        return level.keys("model" if query.by == "model" else "node")


def _metrics(text: str) -> list[HistoryMetric]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in KNOWN:
            near = did_you_mean(word[:100], KNOWN) or f"; known are: {', '.join(KNOWN)}"
            raise MalformedRequest(f"metric: nothing is kept of '{word[:100]}'{near}.", param="metric")
    return [metric for metric in KNOWN if metric in words] if words else list(KNOWN)


def _tallies(by_model: dict[str, Tally]) -> Iterator[tuple[Key, Tally]]:
    whole = Tally()
    for model, tally in by_model.items():
        add_up(whole, tally)
        if model:
            yield ("model", model), tally
    yield WHOLE, whole


def _looks(view: FleetView) -> Iterator[tuple[Key, Look]]:
    in_flight = waiting = 0
    for model in view.models:
        flying = sum(replica.in_flight for replica in model.replicas)
        if flying or model.waiting:
            yield ("model", model.id), Look(flying, model.waiting)
        in_flight += flying
        waiting += model.waiting
    yield WHOLE, Look(in_flight, waiting)
    for node in view.nodes:
        look = Look(vram_used_mb=_vram_used_mb(node), power_w=_power_w(node)) if node.is_healthy else Look()
        yield ("node", node.name), look


def _vram_used_mb(node: NodeView) -> float | None:
    """Return what is in use of a node's GPUs, of its RAM where it has none; None while nobody knows."""
    if node.discovery is None or node.health is None:
        return None
    gpus = {device.index for device in node.discovery.devices if device.kind != "cpu"}
    readings = [reading for reading in node.health.devices if not gpus or reading.index in gpus]
    used = [reading.vram_used_mb for reading in readings if reading.vram_used_mb is not None]
    return float(sum(used)) if used else None


def _power_w(node: NodeView) -> float | None:
    """Return what a node's devices draw, of those that tell; None where none does."""
    told = [] if node.health is None else [reading.power_w for reading in node.health.devices]
    known = [power for power in told if power is not None]
    return float(sum(known)) if known else None

"""How a gateway of a simulated fleet has a load done: claimed in the store, asked for, followed until it is over.

What ``gateway/control/executor.py`` does in a task, in steps.
"""

from typing import TYPE_CHECKING

from cortex.contract.instance import EndpointAnswer, InstanceReport, LoadAnswer
from cortex.fleet import event as happened
from cortex.fleet.effect import StartLoad
from cortex.fleet.load_book import CALLED_OFF
from cortex.gateway.control.executor import is_called_off
from cortex.testing.fleet_neuron import Refused, report_of
from cortex.testing.fleet_store import CLAIM_TTL_S, ToyStore
from cortex.testing.fleet_wire import Missed, Wire

if TYPE_CHECKING:
    from cortex.testing.fleet_gateway import SimulatedGateway
    from cortex.testing.fleet_referee import FleetReferee

ASK_S = 2.0
LOOK_S = 0.5
SILENCE_S = 6.0
UNKNOWN_LOOKS = 3
FOLLOW_S = 60.0


class LoadRunner:
    """The loads that one gateway process has under way."""

    def __init__(
        self, gateway: "SimulatedGateway", wire: Wire, store: ToyStore | None, witness: "FleetReferee"
    ) -> None:
        self._gateway = gateway
        self._wire = wire
        self._store = store
        self._witness = witness
        self._loads: dict[str, StartLoad] = {}

    def carry_out(self, effect: StartLoad) -> None:
        """Claim a first load in the store that is shared, so that two gateways do not load one model twice."""
        if self._store is None or not effect.is_first or self._store.is_down:
            self._load(effect)
            return
        model = effect.request.model_id
        store = self._store

        def done() -> None:
            claim = store.claim(f"load:{model}", self._gateway.name, effect.node)
            if claim.holder == self._gateway.name:
                self._loads[model] = effect
                self._renew(model)
                self._load(effect)
            else:
                self._gateway.post(
                    happened.LoadDeferred(
                        node=effect.node, model=model, target=claim.target, holder=claim.holder, retry_in_s=1.0
                    )
                )

        self._gateway.later(self._wire.delay_s(), done, f"{self._gateway.name} claims {model}")

    def _renew(self, model: str) -> None:
        if model in self._loads and self._store is not None:
            if not self._store.is_down:
                self._store.claim(f"load:{model}", self._gateway.name, self._loads[model].node)
            self._gateway.later(CLAIM_TTL_S / 3, lambda: self._renew(model))

    def _load(self, effect: StartLoad) -> None:
        node, request, begun_s = self._gateway.nodes[effect.node], effect.request, self._gateway.clock.now_s()
        self._witness.load_asked(self._gateway, effect)

        def done(answer: object) -> None:
            if isinstance(answer, LoadAnswer):
                self._follow(effect, answer.generation, begun_s)
            elif isinstance(answer, Refused):
                is_failing = answer.code == "held" and answer.reason == "failing"
                code = "failing" if is_failing else answer.code
                self._land(effect, code, answer.message, retry_in_s=answer.retry_in_s)
            elif isinstance(answer, Missed) and not answer.is_certain:
                self._follow(effect, 0, begun_s)  # it may have been taken all the same
            else:
                self._land(effect, "node_unreachable", "connection refused")

        self._gateway.call(
            node, f"load {request.model_id}", lambda p, replied: p.load(request, replied), done, ASK_S + 3
        )

    def _follow(
        self, effect: StartLoad, generation: int, begun_s: float, useful_s: float | None = None, unknown: int = 0
    ) -> None:
        """Look until the load is over, as the executor does."""
        node, model, now_s = self._gateway.nodes[effect.node], effect.request.model_id, self._gateway.clock.now_s()
        last_s = now_s if useful_s is None else useful_s

        def done(answer: object) -> None:
            heard_s, looks = last_s, unknown
            if isinstance(answer, tuple) and not isinstance(answer, Refused):
                report = report_of(answer[0], model)
                if report is not None and report.generation < generation:
                    report = None
                if report is not None and report.status == "loaded":
                    self._finish(effect, report)
                    return
                if report is not None and report.status == "failed":
                    self._land(effect, report.error.code if report.error else "load_failed", "it failed")
                    return
                if report is not None and generation and is_called_off(report):
                    self._land(effect, CALLED_OFF, "it was unloaded while it was being loaded")
                    return
                heard_s = self._gateway.clock.now_s()
                looks = looks + 1 if report is None or report.status == "unloaded" else 0
            if looks >= UNKNOWN_LOOKS:
                self._land(effect, "load_lost", "the neuron knows nothing of the load any more")
            elif self._gateway.clock.now_s() - heard_s >= SILENCE_S:
                self._land(effect, "node_unreachable", "the neuron cannot be followed")
            elif self._gateway.clock.now_s() - begun_s >= FOLLOW_S:
                self._land(effect, "load_timeout", "not loaded in time")
            else:
                self._gateway.later(LOOK_S, lambda: self._follow(effect, generation, begun_s, heard_s, looks))

        self._gateway.call(node, f"look at {model}", lambda process, replied: process.models(replied), done, ASK_S)

    def _finish(self, effect: StartLoad, report: InstanceReport) -> None:
        node, model, asked_s = self._gateway.nodes[effect.node], effect.request.model_id, self._gateway.clock.now_s()

        def done(answer: object) -> None:
            if isinstance(answer, EndpointAnswer):
                self._landed(effect, is_loaded=True)
                self._gateway.post(
                    happened.LoadSucceeded(
                        node=node.name,
                        model=model,
                        endpoint=answer,
                        asked_s=asked_s,
                        parallel=report.parallel,
                        report=report,
                    )
                )
            else:
                self._land(effect, getattr(answer, "code", "upstream_unreachable"), "no endpoint")

        name = self._gateway.name_at(node.name)
        self._gateway.call(node, f"endpoint {model}", lambda p, replied: p.endpoint(model, name, replied), done, ASK_S)

    def _land(self, effect: StartLoad, code: str, message: str, *, retry_in_s: float | None = None) -> None:
        self._landed(effect)
        model = effect.request.model_id
        self._gateway.post(
            happened.LoadFailed(node=effect.node, model=model, code=code, message=message, retry_in_s=retry_in_s)
        )

    def _landed(self, effect: StartLoad, *, is_loaded: bool = False) -> None:
        """Give a claim back, or keep it for a moment until the others have heard that the model is there."""
        model, name = effect.request.model_id, self._gateway.name
        self._witness.load_landed(self._gateway, effect)
        if self._loads.get(model) is effect:
            del self._loads[model]
            if self._store is not None and not self._store.is_down and not is_loaded:
                self._store.release(f"load:{model}", name)

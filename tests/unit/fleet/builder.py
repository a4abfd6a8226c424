"""Builders of fleets for tests: say what matters, the rest is filled in."""

from collections.abc import Iterable
from typing import Any

from cortex.contract.instance import EndpointAnswer, InstanceReport, InstanceStatus
from cortex.contract.node import Device, DeviceKind, DeviceReading, Discovery, HarnessDetail, Health
from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher, Policy
from cortex.fleet.effect import Effect, FetchEndpoint, Grant, Refuse, StartLoad, Target
from cortex.fleet.event import (
    EndpointFailed,
    EndpointFetched,
    Event,
    LoadFailed,
    LoadSucceeded,
    NodeDiscovered,
    NodeLost,
    NodeSampled,
    RequestArrived,
    RequestFinished,
    TargetSuspected,
    Ticked,
)
from cortex.fleet.roster import Roster
from cortex.fleet.view import NodeView


def a_profile(model: str = "m", **keys: object) -> Profile:
    return Profile(**({"id": model, "harness": "llamacpp", "vram_mb": 1000} | keys))  # type: ignore[arg-type]


def a_report(
    model: str = "m", status: InstanceStatus = "loaded", generation: int = 1, **keys: object
) -> InstanceReport:
    return InstanceReport(id=model, harness="llamacpp", status=status, generation=generation, **keys)  # type: ignore[arg-type]


def a_discovery(
    vram_mb: Iterable[int] = (24_000,),
    *,
    kinds: Iterable[DeviceKind] | None = None,
    harnesses: Iterable[str] = ("llamacpp",),
    details: Iterable[HarnessDetail] = (),
    headroom_mb: int = 0,
    labels: dict[str, str] | None = None,
) -> Discovery:
    totals = tuple(vram_mb)
    return Discovery(
        hostname="h",
        os="Linux",
        kernel="6",
        devices=tuple(
            Device(index=index, name="GPU", vram_total_mb=total, kind=kind)
            for index, (total, kind) in enumerate(
                zip(totals, tuple(kinds) if kinds else ("cuda",) * len(totals), strict=True)
            )
        ),
        harnesses=tuple(harnesses),
        harness_details=tuple(details),
        headroom_mb=headroom_mb,
        labels=labels or {},
    )


def a_health(free_mb: Iterable[int | None] = (), reserved_mb: int = 0) -> Health:
    return Health(
        uptime_secs=1.0,
        devices=tuple(
            DeviceReading(index=index, vram_free_mb=free, reserved_mb=reserved_mb) for index, free in enumerate(free_mb)
        ),
    )


def a_node(
    name: str = "a",
    vram_mb: Iterable[int] = (24_000,),
    *,
    free_mb: Iterable[int | None] | None = None,
    models: Iterable[InstanceReport] = (),
    is_healthy: bool = True,
    why: str = "",
    reserved_mb: int = 0,
    **discovery: object,
) -> NodeView:
    totals = tuple(vram_mb)
    return NodeView(
        name=name,
        is_healthy=is_healthy,
        is_tried=True,
        why=why,
        discovery=a_discovery(totals, **discovery),  # type: ignore[arg-type]
        health=a_health(totals if free_mb is None else free_mb, reserved_mb),
        models=tuple(models),
    )


def an_endpoint(generation: int = 1, url: str = "http://engine") -> EndpointAnswer:
    return EndpointAnswer(url=url, generation=generation, engine_model="m")


def take_sample(roster: Roster, sample: NodeSampled) -> bool:
    """Put a sample on record as the dispatcher does; tell whether it was news."""
    news = roster.desks[sample.node].sampled(sample, sample.asked_s)
    if news is not None:
        roster.take(sample.node, news)
    return news is not None


class Fleet:
    """A dispatcher with a clock and short words for its events; remembers every answer by ticket."""

    def __init__(
        self,
        nodes: Iterable[str] = ("a",),
        profiles: Iterable[Profile] = (),
        *,
        load_timeout_s: float = 600.0,
        vram_mb: Iterable[int] = (24_000,),
        is_up: bool = True,
    ) -> None:
        self.now_s = 100.0
        self.dispatcher = Dispatcher(
            nodes, profiles, policy=Policy(load_timeout_s=load_timeout_s, settle_s=5.0), started_s=self.now_s
        )
        self.answers: dict[int, list[Grant | Refuse]] = {}
        self.vram_mb = tuple(vram_mb)
        self._ticket = 0
        for node in nodes if is_up else ():
            self.discover(node)
            self.sample(node)

    def tell(self, event: Event) -> list[Effect]:
        effects = self.dispatcher.handle(event, self.now_s)
        for effect in effects:
            if isinstance(effect, Grant | Refuse):
                self.answers.setdefault(effect.ticket, []).append(effect)
        return effects

    def discover(self, node: str, **discovery: object) -> list[Effect]:
        return self.tell(NodeDiscovered(node, a_discovery(**({"vram_mb": self.vram_mb} | discovery))))  # type: ignore[arg-type]

    def sample(
        self, node: str, *models: InstanceReport, asked_s: float | None = None, start_id: str = "", event: int = 0
    ) -> list[Effect]:
        return self.tell(
            NodeSampled(
                node=node,
                health=a_health(self.vram_mb),
                models=models,
                asked_s=self.now_s if asked_s is None else asked_s,
                start_id=start_id,
                event=event,
            )
        )

    def ready(self, node: str, model: str = "m", generation: int = 1, parallel: int | None = None) -> Target:
        """Make a model loaded on a node and reachable, and return the target that requests for it get there."""
        self.now_s += 1
        self.sample(node, a_report(model, generation=generation, parallel=parallel))
        self.fetched(node, model, generation=generation)
        target = self.dispatcher._floor.models[model].replicas[node].target
        assert target is not None
        return target

    def fetched(
        self, node: str, model: str = "m", generation: int = 1, *, url: str | None = None, asked_s: float | None = None
    ) -> list[Effect]:
        return self.tell(
            EndpointFetched(
                node=node,
                model=model,
                endpoint=an_endpoint(generation, url or f"http://{node}/{generation}"),
                asked_s=self.now_s if asked_s is None else asked_s,
            )
        )

    def fetch_failed(self, node: str, model: str = "m", code: str = "upstream_unreachable") -> list[Effect]:
        return self.tell(EndpointFailed(node, model, code, code))

    def loaded(self, node: str, model: str = "m", generation: int = 1, parallel: int | None = None) -> list[Effect]:
        return self.tell(
            LoadSucceeded(
                node=node,
                model=model,
                endpoint=an_endpoint(generation, f"http://{node}/{generation}"),
                asked_s=self.now_s,
                parallel=parallel,
            )
        )

    def load_failed(
        self, node: str, model: str = "m", *, code: str = "oom", message: str = "out of memory"
    ) -> list[Effect]:
        return self.tell(LoadFailed(node=node, model=model, code=code, message=message, log_tail=("last words",)))

    def lost(self, node: str, why: str = "connection refused") -> list[Effect]:
        return self.tell(NodeLost(node, why))

    def suspect(self, target: Target, why: str = "unreachable") -> list[Effect]:
        return self.tell(TargetSuspected(target, why))

    def arrive(
        self,
        name: str = "m",
        *,
        avoid: tuple[Target, ...] = (),
        caller: str = "",
        patience_s: float | None = None,
        **more: Any,
    ) -> int:
        """``more``: as in ``RequestArrived``."""
        self._ticket += 1
        self.tell(RequestArrived(self._ticket, name, avoid, caller, patience_s=patience_s, **more))
        return self._ticket

    def arrive_for(self, name: str = "m", *, avoid: tuple[Target, ...] = ()) -> list[Effect]:
        """Let a request arrive and return what is to be done for it."""
        self._ticket += 1
        return self.tell(RequestArrived(self._ticket, name, avoid))

    def finish(self, ticket: int) -> list[Effect]:
        return self.tell(RequestFinished(ticket))

    def tick(self, by_s: float = 0.0) -> list[Effect]:
        self.now_s += by_s
        return self.tell(Ticked())

    def grant(self, ticket: int) -> Grant:
        """Return the one answer of a ticket, which must be a grant."""
        (answer,) = self.answers[ticket]
        assert isinstance(answer, Grant), answer
        return answer

    def refusal(self, ticket: int) -> Refuse:
        """Return the one answer of a ticket, which must be a refusal."""
        (answer,) = self.answers[ticket]
        assert isinstance(answer, Refuse), answer
        return answer

    def counts(self) -> dict[tuple[str, str], int]:
        return {(model, node): count for model, node, count in self.dispatcher.in_flight()}

    def is_at_rest(self) -> bool:
        return not self.counts() and not self.dispatcher.waiting() and not self.dispatcher.loads_under_way()


def loads(effects: Iterable[Effect]) -> list[str]:
    """Return the nodes of all loads among effects."""
    return [effect.node for effect in effects if isinstance(effect, StartLoad)]


def fetches(effects: Iterable[Effect]) -> list[str]:
    """Return the nodes of all questions for endpoints among effects."""
    return [effect.node for effect in effects if isinstance(effect, FetchEndpoint)]

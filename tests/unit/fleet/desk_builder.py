"""A desk and what a neuron says to it, in short: say what matters, the rest is filled in."""

from collections.abc import Iterable, Mapping

from cortex.contract.event import NodeChange
from cortex.contract.instance import InstanceReport, InstanceStatus
from cortex.contract.lease import (
    HealthSample,
    InstanceUse,
    LeaseAnswer,
    LeasePost,
    SampledDevice,
    SlotChange,
    SlotGrant,
)
from cortex.contract.node import Discovery, HarnessDetail, HarnessHealth, Health
from cortex.fleet.desk import Desk, News, Use
from cortex.fleet.event import LeasesAnswered, LeasesRefused, NodeChanged, NodeMissed, NodeSampled

TTL_S = 40.0
GATEWAY = "g"


def report(
    model: str = "m",
    status: InstanceStatus = "loaded",
    generation: int = 1,
    *,
    parallel: int | None = 4,
    **keys: object,
) -> InstanceReport:
    return InstanceReport(
        id=model,
        harness="llamacpp",
        status=status,
        generation=generation,
        parallel=parallel,
        **keys,  # type: ignore[arg-type]
    )


def use(model: str = "m", generation: int = 1, in_flight: int = 0, **keys: object) -> Use:
    return Use(model_id=model, generation=generation, in_flight=in_flight, **keys)  # type: ignore[arg-type]


class Neuron:
    """What a neuron says, said to a desk; ``now_s`` is the time of both."""

    def __init__(self, *, shared: Iterable[str] = (), misses: int = 3) -> None:
        self.desk = Desk("a", GATEWAY, misses=misses)
        names = {"llamacpp", *shared}
        details = tuple(HarnessDetail(name=name, kind=name, usable=True, is_shared=name in shared) for name in names)
        self.now_s = 100.0
        self.desk.discovered(Discovery(hostname="", os="", kernel="", harness_details=details), self.now_s)

    def post(self, *uses: Use, leaving: bool = False) -> LeasePost:
        post = self.desk.post(uses, self.now_s, leaving=leaving)
        assert post is not None
        return post

    def answer(
        self,
        event: int = 5,
        *models: InstanceReport,
        start_id: str = "life",
        whole: bool = False,
        gone: Iterable[str] = (),
        slots: Mapping[tuple[str, int], int] | None = None,
        in_use: Iterable[InstanceUse] = (),
        devices: Iterable[int] = (),
        harnesses: Iterable[HarnessHealth] = (),
        post: LeasePost | None = None,
        sent_s: float | None = None,
    ) -> News | None:
        """Answer the report under way, or one that is made for it."""
        post = post or self.post(*(use(model, generation) for model, generation in self.desk.held()))
        answer = LeaseAnswer(
            start_id=start_id,
            event=event,
            ttl_s=TTL_S,
            cancel_settle_s=10.0,
            health=HealthSample(age_s=1.0, devices=tuple(SampledDevice(index=index) for index in devices)),
            snapshot=whole,
            models=models,
            gone=tuple(gone),
            harnesses=tuple(harnesses),
            slots=tuple(SlotGrant(model_id=m, generation=g, slots=n) for (m, g), n in (slots or {}).items()),
            in_use=tuple(in_use),
        )
        sent_s = self.now_s if sent_s is None else sent_s
        return self.desk.answered(LeasesAnswered(node="a", post=post, answer=answer, sent_s=sent_s), self.now_s)

    def change(
        self,
        event: int,
        *models: InstanceReport,
        start_id: str = "life",
        whole: bool = False,
        gone: Iterable[str] = (),
        slots: Mapping[tuple[str, int], int] | None = None,
        gateway: str = GATEWAY,
        harnesses: Iterable[HarnessHealth] = (),
        maintenance: bool | None = None,
    ) -> News | None:
        change = NodeChange(
            start_id=start_id,
            event=event,
            models=models,
            gone=tuple(gone),
            harnesses=tuple(harnesses),
            slots=tuple(
                SlotChange(gateway_id=gateway, model_id=m, generation=g, slots=n) for (m, g), n in (slots or {}).items()
            ),
            maintenance=maintenance,
        )
        return self.desk.changed(NodeChanged("a", change, whole), self.now_s)

    def sample(
        self, event: int, *models: InstanceReport, start_id: str = "life", asked_s: float | None = None
    ) -> News | None:
        asked_s = self.now_s if asked_s is None else asked_s
        return self.desk.sampled(
            NodeSampled(
                node="a",
                health=Health(uptime_secs=1.0),
                models=models,
                asked_s=asked_s,
                start_id=start_id,
                event=event,
            ),
            self.now_s,
        )

    def miss(self, why: str = "silence", *, is_certain: bool = False) -> bool:
        return self.desk.missed(NodeMissed("a", why, is_certain), self.now_s)

    def refuse(self, known_seq: int | None, code: str = "stale") -> bool:
        return self.desk.refused(LeasesRefused(node="a", code=code, message="no", known_seq=known_seq), self.now_s)

    def holding(self, slots: int = 4, *, parallel: int | None = 4, generation: int = 1) -> "Neuron":
        """Have a loaded model held by the gateway, heard of just now."""
        self.answer(5, report(generation=generation, parallel=parallel), whole=True)
        self.desk.endpoint_taken("m", generation, slots, self.now_s)
        self.answer(6, slots={("m", generation): slots} if parallel else None)
        return self

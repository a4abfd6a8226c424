"""A fleet whose first node gives leases: what a dispatcher and a neuron say to each other, in short."""

from collections.abc import Mapping

from tests.unit.fleet.builder import Fleet, a_report

from cortex.contract.event import NodeChange
from cortex.contract.instance import EndpointAnswer, InstanceReport
from cortex.contract.lease import HealthSample, InstanceUse, Lease, LeaseAnswer, LeasePost, SlotChange, SlotGrant
from cortex.contract.node import HarnessDetail
from cortex.contract.profile import Profile
from cortex.fleet.effect import Effect, Grant, PostLeases
from cortex.fleet.event import EndpointFetched, LeasesAnswered, NodeChanged, PollDue, RequestFinished

TTL_S = 40.0


class Leased(Fleet):
    """A fleet whose node ``a`` gives leases, and answers when it is told to; ``others`` have none, and are empty."""

    def __init__(
        self, *, shared: bool = False, others: tuple[str, ...] = (), profiles: tuple[Profile, ...] = ()
    ) -> None:
        super().__init__(["a", *others], profiles, is_up=False)
        self.is_shared = shared
        self.posts: list[LeasePost] = []
        self.under_way: list[PostLeases] = []
        self.effects: list[Effect] = []
        self.version = 5
        self.start_id = "life"
        detail = HarnessDetail(name="llamacpp", kind="llamacpp", usable=True, is_shared=shared)
        self.discover("a", details=[detail])
        for node in others:
            self.discover(node)
            self.sample(node)

    def tell(self, event: object) -> list[Effect]:
        effects = super().tell(event)  # type: ignore[arg-type]
        self.effects += effects
        self.under_way += [effect for effect in effects if isinstance(effect, PostLeases)]
        return effects

    def poll(self, *models: InstanceReport, **answer: object) -> list[Effect]:
        """Poll, and answer."""
        self.tell(PollDue("a"))
        return self.answer(*models, **answer)

    def answer(
        self,
        *models: InstanceReport,
        whole: bool = False,
        slots: Mapping[str, int] | None = None,
        in_use: tuple[InstanceUse, ...] = (),
        gone: tuple[str, ...] = (),
    ) -> list[Effect]:
        """Answer the report under way."""
        effect = self.under_way.pop(0)
        self.posts.append(effect.post)
        self.version += bool(models or gone or slots)
        answer = LeaseAnswer(
            start_id=self.start_id,
            event=self.version,
            ttl_s=TTL_S,
            cancel_settle_s=10.0,
            health=HealthSample(age_s=0.0),
            snapshot=whole or not effect.post.start_id,
            models=models,
            gone=gone,
            slots=tuple(SlotGrant(model_id=m, generation=1, slots=n) for m, n in (slots or {}).items()),
            in_use=in_use,
        )
        return self.tell(LeasesAnswered(node="a", post=effect.post, answer=answer, sent_s=self.now_s))

    def settle(self) -> None:
        """Answer whatever is under way."""
        while self.under_way:
            self.answer()

    def change(self, *models: InstanceReport, slots: Mapping[str, int] | None = None) -> list[Effect]:
        self.version += 1
        told = tuple(
            SlotChange(gateway_id="gateway", model_id=m, generation=1, slots=n) for m, n in (slots or {}).items()
        )
        change = NodeChange(start_id=self.start_id, event=self.version, models=models, slots=told)
        return self.tell(NodeChanged("a", change))

    def place(
        self, slots: int | None, model: str = "m", generation: int = 1, *, asked_s: float | None = None
    ) -> list[Effect]:
        endpoint = EndpointAnswer(url="http://engine", generation=generation, engine_model=model, slots=slots)
        asked_s = self.now_s if asked_s is None else asked_s
        return self.tell(EndpointFetched(node="a", model=model, endpoint=endpoint, asked_s=asked_s))

    def holding(self, slots: int = 2, parallel: int | None = 2) -> "Leased":
        """Have a model loaded whose slots this gateway has."""
        self.poll(a_report(parallel=parallel))
        self.place(slots if parallel else None)
        self.answer(slots={"m": slots} if parallel else None)
        self.settle()
        self.now_s += 5
        return self

    def finish(self, ticket: int, *, is_cancelled: bool = False) -> list[Effect]:
        return self.tell(RequestFinished(ticket, is_cancelled))

    def is_granted(self, ticket: int) -> bool:
        return any(isinstance(answer, Grant) for answer in self.answers.get(ticket, []))

    def lease(self) -> Lease:
        """Return the lease of the newest report."""
        post = self.under_way[-1].post if self.under_way else self.posts[-1]
        (lease,) = post.leases
        return lease

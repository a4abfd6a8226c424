"""A gateway as the simulation of leases knows it: the real desk, and around it what a dispatcher keeps of requests.

A request that was cancelled keeps its slot until its engine must be done with it. Discovery has told that every engine
has a fence, so that a neuron out of reach does not keep a gateway from sending.
"""

from cortex.contract.event import NodeChange
from cortex.contract.instance import InstanceReport
from cortex.contract.lease import LeaseAnswer, LeasePost
from cortex.contract.node import Discovery, HarnessDetail
from cortex.fleet.desk import Desk, Use
from cortex.fleet.event import LeasesAnswered, LeasesRefused, NodeChanged, NodeMissed
from cortex.testing.leased_node import SETTLE_S, SentRequest

NODE = "node"


class Hold:
    """The requests that a gateway has in one generation."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.active: set[SentRequest] = set()
        self.cancelled = 0
        self._settling: list[float] = []

    def occupied(self, now_s: float) -> int:
        """Return the slots in use, those of requests included that were cancelled lately."""
        self._settling = [until_s for until_s in self._settling if until_s > now_s]
        return len(self.active) + len(self._settling)

    def in_order(self) -> list[SentRequest]:
        """Return those under way: the same ones in the same order for the same seed."""
        return sorted(self.active, key=lambda request: request.number)

    def cancel(self, request: SentRequest, now_s: float) -> None:
        self.active.discard(request)
        self.cancelled += 1
        self._settling.append(now_s + SETTLE_S)


class LeasingGateway:
    """One gateway; ``process`` grows when it is started anew under its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = 0
        self.is_alive = False
        self.start()

    def start(self) -> None:
        """Begin a process, which knows nothing."""
        self.process += 1
        self.is_alive = True
        self.is_leaving = False
        self.is_asking = False
        self.waits_until_s = 0.0
        """It is suspended until then."""
        self.desk = Desk(NODE, self.name)
        self.desk.process = str(self.process)
        details = (HarnessDetail(name="fake", kind="fake", usable=True),)
        self.desk.discovered(Discovery(hostname="", os="", kernel="", harness_details=details), 0.0)
        self.holds: dict[str, Hold] = {}
        self.waiting: dict[str, list[float]] = {}

    @property
    def start_id(self) -> str:
        return self.desk.start_id

    @property
    def event(self) -> int:
        return self.desk.event

    @property
    def models(self) -> dict[str, InstanceReport]:
        return self.desk.listing.reports

    def slots_of(self, model: str) -> int:
        """Return the slots that it goes by."""
        hold = self.holds.get(model)
        return (self.desk.slots_of(model, hold.generation) or 0) if hold is not None else 0

    def post(self, now_s: float) -> LeasePost | None:
        """Return the next report; None while one is under way."""
        held = dict(self.desk.held())
        uses = [
            self._use(model, hold, now_s) for model, hold in self.holds.items() if held.get(model) == hold.generation
        ]
        return self.desk.post(uses, now_s, leaving=self.is_leaving)

    def may_send(self, model: str, now_s: float) -> Hold | None:
        """Return what a request may be sent on; None when it has to wait."""
        report, hold = self.models.get(model), self.holds.get(model)
        if report is None or hold is None or report.status != "loaded" or report.generation != hold.generation:
            return None
        if now_s >= self.desk.trusted_until_s(model, hold.generation):
            return None
        return hold if hold.occupied(now_s) < self.slots_of(model) else None

    def is_on_its_own(self, model: str, now_s: float) -> bool:
        """Tell whether its lease has ended, and the neuron is out of reach: then only the fence answers for it."""
        ends_s = self.desk.lease_ends_s(model, self.holds[model].generation)
        return now_s >= ends_s and not self.desk.live.is_healthy

    def needs_endpoint(self, model: str) -> bool:
        """Tell whether it has to ask where a model is reached."""
        report = self.models.get(model)
        is_loaded = report is not None and report.status == "loaded"
        return is_loaded and report is not None and (model, report.generation) not in self.desk.held()

    def take_endpoint(self, model: str, generation: int, slots: int, asked_s: float) -> None:
        """Take in where a model is reached."""
        report = self.models.get(model)
        if report is None or report.generation > generation:
            return
        if model not in self.holds or self.holds[model].generation < generation:
            self.holds[model] = Hold(generation)
        self.desk.endpoint_taken(model, generation, slots, asked_s)

    def take_answer(self, answer: LeaseAnswer, post: LeasePost, sent_s: float, now_s: float) -> None:
        """Take in what a post was answered with."""
        self.desk.answered(LeasesAnswered(node=NODE, post=post, answer=answer, sent_s=sent_s), now_s)

    def take_refusal(self, seq: int, now_s: float) -> None:
        """Take in that a newer report is known."""
        self.desk.refused(LeasesRefused(node=NODE, code="stale", message="", known_seq=seq), now_s)

    def take_silence(self, now_s: float) -> None:
        """Take in that a report was not answered."""
        self.desk.missed(NodeMissed(NODE, "silence"), now_s)

    def take_change(self, change: NodeChange, now_s: float, *, is_whole: bool) -> None:
        """Take in a message of the stream."""
        self.desk.changed(NodeChanged(NODE, change, is_whole), now_s)

    def _use(self, model: str, hold: Hold, now_s: float) -> Use:
        waiting = self.waiting.get(model, [])
        return Use(
            model_id=model,
            generation=hold.generation,
            in_flight=len(hold.active),
            waiting=len(waiting),
            oldest_wait_s=now_s - waiting[0] if waiting else 0.0,
            cancelled=hold.cancelled,
        )

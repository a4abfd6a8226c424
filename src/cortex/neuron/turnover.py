"""Gives loads their memory, and takes it from whom they are to have it from, as ``residency/eviction.py`` decides.

A reservation, its victims' included, is made in one turn of the loop, so that no other load comes in between; that the
victims go is decided in another. Whoever is refused is told why in words, and when to ask again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from cortex.contract.error import CapacityError
from cortex.contract.instance import InstanceError, UnloadReason
from cortex.kit.task import TaskOwner
from cortex.neuron.admission import no_room
from cortex.neuron.basis import Basis, another_life
from cortex.neuron.clearing import Clearing
from cortex.neuron.departure import Departure
from cortex.neuron.harness.interface import Launch
from cortex.neuron.instance import Instance
from cortex.neuron.life import Life, LifeSupport
from cortex.neuron.refusal import Busy, Held, Stale
from cortex.neuron.tenant import tenants_of
from cortex.residency.drain import Drain, DrainKind
from cortex.residency.eviction import Admitted, Refusal, Scene, Wish, admit, ask_again_s, draw
from cortex.residency.fit import Fit, Infeasible
from cortex.residency.ticket import TicketBook

log = logging.getLogger(__name__)

REASONS = {
    "victim_gone": "{key} is not loaded, or in another generation by now",
    "victim_pinned": "{key} is pinned",
    "victim_loading": "{key} is still loading",
    "victim_draining": "{key} is on its way out already",
    "victim_unloading": "{key} is on its way out already",
    "victim_protected": "{key} was loaded not long ago and stays for now",
    "waits_its_turn": "{key} has waited longer for this memory",
    "victim_busy": "{key} has requests running",
    "victims_stayed": "{key} had to stay: requests are running, or a gateway has not let go of it",
}
KINDS: dict[str, type[CapacityError]] = {"busy": Busy, "held": Held, "stale": Stale}


class Limits(NamedTuple):
    """How long things may take. ``drain_s``: before maintenance cuts; ``grace_s``: before an eviction is given up;
    ``max_wait_s``: before a load that waits stops new requests for its victims."""

    drain_s: float
    grace_s: float
    max_wait_s: float


FRESH_S = 1.0
"""A sample so old says who uses the devices now."""


class Turnover:
    """The memory of this node as it changes hands."""

    def __init__(
        self,
        instances: Mapping[str, Instance],
        lives: Mapping[str, Life],
        support: LifeSupport,
        limits: Limits,
        tasks: TaskOwner,
    ) -> None:
        self._instances = instances
        self._lives = lives
        self._support = support
        self._limits = limits
        self._tasks = tasks
        self._tickets = TicketBook(limits.max_wait_s)
        self._basis = Basis()

    def note(self) -> None:
        """Take in that something has changed."""
        self._basis.note(self._instances.values(), self._support.event())

    async def admit(self, wish: Wish, basis_event: int | None, basis_start_id: str | None = None) -> Admitted:
        """Reserve memory for a load. Raises: NoRoom, Busy, Held, Stale."""
        await self._look_closer(wish)
        support, now_s = self._support, self._support.clock.now_s()
        if basis_start_id not in (None, support.start_id):
            raise another_life(support.start_id)
        self._basis.check(basis_event, wish.devices, support.event())
        tenants = tenants_of(self._instances, support.holders, now_s)
        for resident in support.admission.book.residents:
            tenant = tenants.get(resident.key)
            support.admission.book.offer(resident.key, tenant is not None and tenant.is_evictable)
        scene = Scene(support.admission.book, self._tickets, support.admission.rooms(), tenants)
        verdict = admit(wish, scene, now_s)
        if isinstance(verdict, Refusal):
            raise _refused(wish, verdict)
        return verdict

    def clear(self, wish: Wish, admitted: Admitted, may_go: Callable[[], bool]) -> Clearing | None:
        """Begin to take from the victims what was reserved; None when there are none."""
        if not admitted.victims:
            return None
        instances = [self._instances[key] for key in admitted.victims]

        def may_still_go() -> bool:
            return may_go() and not any(instance.is_pinned for instance in instances)

        log.info("%s: to make room for %s%s", ", ".join(admitted.victims), wish.key, ", due" if admitted.is_due else "")
        departure = self._departure("due" if admitted.is_due else "eviction", may_still_go)
        outcomes = {key: self._lives[key].propose(departure, "eviction") for key in admitted.victims}
        return Clearing(departure, outcomes, lambda: self._recheck(wish))

    def give_back(self, wish: Wish, launch: Launch | None) -> None:
        """Undo what was done for a load whose life does not begin."""
        self._support.admission.book.release(wish.key)
        if launch is not None:
            with suppress(OSError):  # then the next neuron finds a record without an engine, and removes it
                self._support.state.remove_record(launch.generation)

    def settle(self, wish: Wish) -> None:
        """Note that a load waits for nobody's decision any more."""
        self._tickets.close(wish.key)

    def stayed(self, wish: Wish, victims: tuple[str, ...]) -> CapacityError:
        """Return the refusal of a load whose victims have stayed; it keeps its place."""
        now_s = self._support.clock.now_s()
        retry_in_s = ask_again_s(self._tickets.due_in_s(wish.key, wish.devices, now_s))
        draw(wish, self._tickets, retry_in_s, now_s)
        key = " and ".join(victims)
        return _refused(wish, Refusal(code="busy", reason="victims_stayed", key=key, retry_in_s=retry_in_s))

    def suggest(self, model_id: str, reason: UnloadReason) -> None:
        """Have an instance leave for nobody's sake, if it can without anything being cut."""
        instance = self._instances[model_id]
        departure = self._departure("eviction", lambda: not instance.is_pinned)
        self._lives[model_id].propose(departure, reason)
        self._tasks.start(departure.run(), f"drain of {model_id}")

    def _departure(self, kind: DrainKind, may_go: Callable[[], bool]) -> Departure:
        support, limits = self._support, self._limits
        limit_s = limits.drain_s if kind == "due" else limits.grace_s
        return Departure(Drain(kind, support.clock.now_s() + limit_s), support.clock, support.sleep, may_go)

    async def _look_closer(self, wish: Wish) -> None:
        """Take a sample unless there is a new one, for strangers that have come since; and ask the engines on the
        devices what they are doing, where it matters who could go."""
        admission, sampler = self._support.admission, self._support.sampler
        if wish.need_mb and sampler.age_s() > FRESH_S:
            await sampler.refresh()
        verdict = admission.book.judge(wish.need_mb, wish.devices, admission.rooms())
        if wish.victims or not isinstance(verdict, Fit):
            concerned = [life for life in self._lives.values() if life.is_on(wish.devices)]
            await asyncio.gather(*(life.look() for life in concerned))

    async def _recheck(self, wish: Wish) -> InstanceError | None:
        """Return what is missing now that all victims are gone: strangers may have taken it."""
        await self._support.sampler.refresh()
        admission = self._support.admission
        verdict = admission.book.judge_again(wish.key, admission.rooms())
        if isinstance(verdict, Infeasible):
            refusal = no_room(wish.need_mb, verdict.reason, verdict.devices)
            return InstanceError(code=refusal.code, message=refusal.message)
        return None


def _refused(wish: Wish, refusal: Refusal) -> CapacityError:
    if refusal.code == "no_room":
        return no_room(wish.need_mb, refusal.reason, refusal.devices, refusal.retry_in_s)
    words = REASONS[refusal.reason].format(key=refusal.key)
    when = {} if refusal.retry_in_s is None else {"retry_in_s": round(refusal.retry_in_s, 3)}
    hint = "look again" if refusal.retry_in_s is None else f"ask again in {refusal.retry_in_s:.1f} s"
    return KINDS[refusal.code](
        f"{wish.key} cannot be loaded yet: {words}; {hint}", reason=refusal.reason, model_id=refusal.key, **when
    )

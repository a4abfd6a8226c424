"""The rules of memory, evictions and restarts of simulated nodes, with sums of their own (3, 4, 6, 12 and 14).

Before an engine starts its room must really be there: strangers, leaks, engines and what drivers have not given back
are added up from the devices, not from the neuron's books.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cortex.residency.eviction import Admitted, Scene, Wish
from cortex.residency.fit import DeviceRoom, Infeasible, Reservation, Resident, fits, held_on, promised_on
from cortex.testing.fleet_host import SimulatedEngine
from cortex.testing.fleet_verdict import Verdict

if TYPE_CHECKING:
    from cortex.testing.fleet_life import SimulatedLife
    from cortex.testing.fleet_supervisor import SimulatedSupervisor


class _Books:
    """What a neuron's books held before a load was decided about."""

    def __init__(self, scene: Scene) -> None:
        self.residents: tuple[Resident, ...] = scene.book.residents
        self.reservations: tuple[Reservation, ...] = scene.book.reservations
        self.rooms: tuple[DeviceRoom, ...] = scene.rooms


class _Swaps:
    """How often a model has left a node for others, since it first did, and the shortest of its protections."""

    def __init__(self, since_s: float, least_s: float) -> None:
        self.since_s = since_s
        self.least_s = least_s
        self.count = 0


class MemoryRule:
    """Looks at every node when something is decided or begins there."""

    def __init__(self, verdict: Verdict, headroom_mb: int) -> None:
        self._check = verdict.check
        self._headroom_mb = headroom_mb
        self._before: _Books | None = None
        self._committed: dict[tuple[str, str], set[str]] = {}
        self._swaps: dict[tuple[str, str], _Swaps] = {}
        self.commits = 0
        self.evictions = 0

    def asks(self, scene: Scene) -> None:
        self._before = _Books(scene)

    def admits(self, supervisor: "SimulatedSupervisor", wish: Wish, admitted: Admitted) -> None:
        """A load gets its memory: what is promised is there, and nobody goes who need not."""
        before = self._before
        assert before is not None
        self.commits += 1
        wanted = {victim.model_id: victim.generation for victim in wish.victims}
        for victim in admitted.victims:
            generation = supervisor.lives[victim].launch.generation
            words = f"generation {generation} of {victim}@{supervisor.name} goes, and {wanted.get(victim)} was meant"
            self._check(wanted.get(victim, generation) == generation, 6, words)
            rest = [key for key in admitted.victims if key != victim]
            without = [resident for resident in before.residents if resident.key not in rest]
            verdict = fits(
                wish.need_mb, wish.devices, before.rooms,
                residents=without, reservations=before.reservations, headroom_mb=self._headroom_mb,
            )  # fmt: skip
            needless = f"{victim} goes for {wish.key} on {supervisor.name}, and it would fit without that"
            self._check(isinstance(verdict, Infeasible), 6, needless)
        if admitted.victims:
            self._committed[(supervisor.name, wish.key)] = set(admitted.victims)
        self.books(supervisor)

    def departs(
        self, supervisor: "SimulatedSupervisor", wanted: str, lives: Iterable["SimulatedLife"], now_s: float
    ) -> None:
        """Instances leave for a load: each was committed to it, may go, and was not loaded just now."""
        node, pins = supervisor.name, supervisor.host.pins
        for life in lives:
            committed = self._committed.get((node, wanted), set())
            self._check(life.key in committed, 6, f"{life.key} leaves {node} for {wanted}, which was never committed")
            committed.discard(life.key)
            self.evictions += 1
            is_pinned = pins.get(life.key, life.launch.request.pinned)
            self._check(not is_pinned, 4, f"{life.key} on {node} is pinned, and leaves for {wanted}")
            self._check(
                life.instance.status == "draining", 4, f"{life.key} on {node} is {life.instance.status}, and leaves"
            )
            self._check_residency(life, node, now_s)

    def _check_residency(self, life: "SimulatedLife", node: str, now_s: float) -> None:
        engine = life.engine
        if engine is None or engine.ready_s is None:
            return
        if not life.is_new:
            return  # a neuron that has found it running knows neither since when nor how long its load took
        least_s = max(life.launch.request.min_residency_s or 0.0, 2 * (engine.ready_s - engine.started_s))
        served_s = now_s - engine.ready_s
        words = f"{life.key} leaves {node} after {served_s:.2f} s, and was protected for {least_s:.2f}"
        self._check(served_s >= least_s * 0.999, 4, words)
        self._count_swap((node, life.key), least_s, now_s)

    def _count_swap(self, place: tuple[str, str], least_s: float, now_s: float) -> None:
        """No ping-pong: a model leaves a node for others as often as its protection lets it, and no more."""
        swaps = self._swaps.setdefault(place, _Swaps(now_s, least_s))
        swaps.count += 1
        swaps.least_s = min(swaps.least_s, least_s)
        words = f"{place[1]} has left {place[0]} {swaps.count} times in {now_s - swaps.since_s:.1f} s"
        self._check((swaps.count - 1) * swaps.least_s <= (now_s - swaps.since_s) * 1.001, 12, words)

    def starts(self, supervisor: "SimulatedSupervisor", engine: SimulatedEngine) -> None:
        """An engine starts: nobody else serves its model here, and its room is there for all to see."""
        host, book = supervisor.host, supervisor.admission.book
        twins = [other for other in host.engines.values() if other.model == engine.model]
        self._check(not twins, 5, f"a second engine of {engine.model} starts on {host.name}")
        measured = {resident.key: resident for resident in book.residents}
        for device in engine.devices:
            ours = 0
            shown = host.readings()[device].processes or {}
            running = {other.pid: other for other in host.engines.values()}
            for pid, use in shown.items():
                known = measured.get(running[pid].model) if pid in running else None
                ours += use.held_mb if known is None else held_on(known.shares, device)
            taken = host.strangers_mb[device] + host.leaked_mb[device] + ours + engine.declared_mb
            limit = host.total_mb[device] - self._headroom_mb
            words = (
                f"{engine.model} starts on {host.name}/{device}: with it {taken} MiB are taken of {limit} "
                f"(strangers {host.strangers_mb[device]}, leaked {host.leaked_mb[device]}, engines {ours})"
            )
            self._check(taken <= limit, 3, words)
        self.books(supervisor)

    def books(self, supervisor: "SimulatedSupervisor") -> None:
        """No more is promised and declared on a device than there is."""
        book = supervisor.admission.book
        for device, total in enumerate(supervisor.host.total_mb):
            declared = sum(
                share.declared_mb for resident in book.residents for share in resident.shares if share.device == device
            )
            promised = sum(promised_on(promise, book.residents, device) for promise in book.reservations)
            words = (
                f"{declared} MiB are declared and {promised} promised on {supervisor.name}/{device}, which has {total}"
            )
            self._check(declared + promised <= total - self._headroom_mb, 3, words)

    def ends(self, node: str) -> None:
        """A neuron process ends: what it was about to do will not be done."""
        self._committed = {key: victims for key, victims in self._committed.items() if key[0] != node}

    def stopped_by(self, supervisor: "SimulatedSupervisor", engine: SimulatedEngine, *, has_begun: bool) -> None:
        """A neuron that only begins stops no engine, but one that its model's next generation has replaced."""
        others = supervisor.host.engines.values()
        is_replaced = any(one.model == engine.model and one.generation > engine.generation for one in others)
        what = f"{engine.model}, generation {engine.generation}"
        words = f"{what}, is stopped on {supervisor.name} by a neuron that begins"
        self._check(has_begun or is_replaced, 14, words)

    def adopts(self, supervisor: "SimulatedSupervisor") -> None:
        """A neuron goes on with exactly the engines that run."""
        running = {(engine.model, engine.generation) for engine in supervisor.host.engines.values()}
        taken = {(life.key, life.launch.generation) for life in supervisor.lives.values()}
        self._check(running == taken, 14, f"{supervisor.name} goes on with {sorted(taken)}, and {sorted(running)} run")

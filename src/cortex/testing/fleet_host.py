"""One simulated GPU host: devices with memory that is really accounted for, engines, strangers, and a clock of its own.

It is what lies below a neuron, and outlives it. An engine takes its memory little by little while it loads; one that
ends may give it back late, and its process is shown until then; what leaks is shown as nobody's until a restart.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cortex.contract.instance import LoadRequest
from cortex.neuron.discovery.interface import ProcessUse, Reading
from cortex.neuron.state_dir import Handle, StateDir
from cortex.testing.timeline import Timeline

HARNESS = "llamacpp"
"""The harness of simulated nodes that are not told of others."""


class HostClock:
    """A host's clock: it began somewhere, drifts, and what it says of the time of day may jump."""

    def __init__(self, time: Timeline, begun_s: float, drift: float) -> None:
        self._time = time
        self._begun_s = begun_s
        self._rate = 1 + drift
        self.jumped_s = 0.0

    def now_s(self) -> float:
        return self._begun_s + self._time.at_s * self._rate

    def epoch_s(self) -> float:
        return self.now_s() + self.jumped_s


class Disk(StateDir):
    """A neuron's state directory, in memory: what it must remember over a restart."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._last = 0

    def next_generation(self) -> int:
        self._last += 1
        return self._last

    def read_file(self, name: str) -> bytes | None:
        return self._files.get(name)

    def write_file(self, name: str, content: bytes) -> None:
        self._files[name] = content

    def close(self) -> None:
        """Nothing is open."""


class Nature(NamedTuple):
    """How the engines of a model really are: what nobody tells the fleet beforehand."""

    actual_share: float = 0.95
    """Of what is declared."""
    declared_mb: int = 0
    """What the catalogue says that it needs; 0: that is what a load asks for."""
    load_s: float = 2.0
    spread: float = 0.2
    """Loads differ by as much."""
    fails: float = 0.0
    """Of its loads."""
    keeps: float = 0.0
    """Of its ends: the driver shows its memory for longer than anybody waits for it."""
    parallel: int = 2


class SentRequest:
    """One request on its way to an engine, in it, or over."""

    __slots__ = (
        "client", "gateway", "generation", "holder", "holding", "is_cancelled", "is_orphan", "is_over", "model", "node",
        "process", "sent_s",
    )  # fmt: skip

    def __init__(self, client: object, gateway: str, process: int, node: str, model: str, generation: int) -> None:
        self.client = client
        self.gateway = gateway
        self.process = process
        self.node = node
        self.model = model
        self.generation = generation
        self.sent_s = 0.0
        self.is_over = False
        """Answered, failed, or gone with its engine."""
        self.is_cancelled = False
        self.is_orphan = False
        """Its gateway is gone, or its lease has ended."""
        self.holder = gateway
        """What its gateway calls itself at the node."""
        self.holding: object = None


class SimulatedEngine:
    """One engine process, with all that a neuron can ask of it."""

    def __init__(
        self,
        pid: int,
        model: str,
        generation: int,
        nonce: str,
        *,
        port: int,
        devices: tuple[int, ...],
        declared_mb: int,
        actual_mb: int,
        parallel: int,
        started_s: float,
        load_s: float,
        request: LoadRequest,
    ) -> None:
        self.pid = pid
        self.model = model
        self.generation = generation
        self.nonce = nonce
        self.port = port
        self.devices = devices
        self.declared_mb = declared_mb
        self.actual_mb = actual_mb
        self.parallel = parallel
        self.started_s = started_s
        self.load_s = load_s
        self.request = request
        self.requests: dict[SentRequest, None] = {}
        self.work = 0.0
        self.is_running = True
        self.is_serving = False
        self.ready_s: float | None = None
        """When it began to serve."""
        self.is_hung = False
        """It accepts requests and answers nothing, not even how many it has."""
        self.was_forced = False
        """It crashed, or was stopped with requests in it because it had to."""
        self.on_exit: Callable[[], None] | None = None
        """Called when it ends by itself, by the neuron that watches it."""
        self.on_ready: Callable[[], None] | None = None

    @property
    def handle(self) -> Handle:
        """How a neuron would write down where it is."""
        return Handle(pid=self.pid, port=self.port, url=self.url, engine_model=self.model)

    @property
    def url(self) -> str:
        return f"http://engine:{self.port}/i/{self.nonce}"

    def used_mb(self, now_s: float) -> int:
        """Return what it takes of each of its devices by now."""
        part = 1.0 if self.is_serving else min(1.0, (now_s - self.started_s) / max(self.load_s, 0.001))
        return int(self.actual_mb * part)

    def let_go(self) -> None:
        self.on_exit = self.on_ready = None


class _Ghost:
    """The memory of a process that has ended, which its driver still shows."""

    def __init__(self, pid: int, devices: tuple[int, ...], mb: int) -> None:
        self.pid = pid
        self.devices = devices
        self.mb = mb


class SimulatedHost:
    """The machine. ``total_mb`` by device."""

    def __init__(
        self,
        name: str,
        time: Timeline,
        clock: HostClock,
        total_mb: Sequence[int],
        harnesses: Sequence[str] = (HARNESS,),
    ) -> None:
        self.name = name
        self.harnesses = tuple(harnesses)
        self.clock = clock
        self.total_mb = tuple(total_mb)
        self.strangers_mb = [0] * len(total_mb)
        self.leaked_mb = [0] * len(total_mb)
        self.engines: dict[int, SimulatedEngine] = {}
        self.disk = Disk()
        self.pins: dict[str, bool] = {}
        self._time = time
        self._ghosts: list[_Ghost] = []
        self._pids = 1000

    @property
    def now_s(self) -> float:
        return self._time.at_s

    def next_pid(self) -> int:
        self._pids += 1
        return self._pids

    def next_port(self) -> int:
        """Return the first free port: the worst order for whoever still knows who was there before."""
        taken = {engine.port for engine in self.engines.values()}
        return next(port for port in range(8001, 9000) if port not in taken)

    def start(self, engine: SimulatedEngine) -> None:
        self.engines[engine.pid] = engine

    def engine_at(self, port: int) -> SimulatedEngine | None:
        """Return whoever listens there."""
        return next((engine for engine in self.engines.values() if engine.port == port), None)

    def end(self, engine: SimulatedEngine, *, is_forced: bool, back_in_s: float, leaks_mb: int) -> list[SentRequest]:
        """End an engine and return the requests that ended with it; its memory comes back after a while."""
        if not engine.is_running:
            return []
        mb = engine.used_mb(self.now_s)
        engine.is_running, engine.was_forced = False, is_forced
        del self.engines[engine.pid]
        lost = list(engine.requests)
        engine.requests.clear()
        for request in lost:
            request.is_over = True
        ghost = _Ghost(engine.pid, engine.devices, mb)
        self._ghosts.append(ghost)

        def back() -> None:
            self._ghosts.remove(ghost)
            for device in engine.devices:
                self.leaked_mb[device] += leaks_mb

        self._time.later(back_in_s, "", back)
        return lost

    def readings(self, pids: Mapping[str, int] | None = None) -> tuple[Reading, ...]:
        """Return how the devices are now."""
        del pids
        held = [self._processes_on(device) for device in range(len(self.total_mb))]
        used = [
            min(total, self.strangers_mb[device] + self.leaked_mb[device] + sum(held[device].values()))
            for device, total in enumerate(self.total_mb)
        ]
        return tuple(
            Reading(
                vram_used_mb=used[device],
                vram_free_mb=total - used[device],
                utilization_pct=0.0,
                processes={pid: ProcessUse(mb, mb) for pid, mb in held[device].items()},
            )
            for device, total in enumerate(self.total_mb)
        )

    def is_overfull(self, device: int) -> bool:
        """Tell whether more is wanted of a device than there is: somebody runs out of memory."""
        taken = self.strangers_mb[device] + self.leaked_mb[device] + sum(self._processes_on(device).values())
        return taken > self.total_mb[device]

    def _processes_on(self, device: int) -> dict[int, int]:
        held = {ghost.pid: ghost.mb for ghost in self._ghosts if device in ghost.devices}
        for engine in self.engines.values():
            if device in engine.devices:
                held[engine.pid] = engine.used_mb(self.now_s)
        return held

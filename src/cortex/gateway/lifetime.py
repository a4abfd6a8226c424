"""The life of a gateway's process: its signals, what it tells the service manager, how it ends, and who comes after it.

SIGTERM and SIGINT end it in order, a second one at once. SIGHUP reads its files again. SIGUSR2 starts a successor, to
which the listening sockets go; once that one serves, this process sends its clients there and ends when they are gone.
What a gateway is made of stands in ``app``.
"""

import asyncio
import gc
import importlib.util
import logging
import os
import resource
import signal
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from cortex import __version__
from cortex.contract.error import ConfigError, CortexError
from cortex.contract.profile import Profile
from cortex.gateway.app import Gateway
from cortex.gateway.catalogue_watch import CatalogueWatch, Read
from cortex.gateway.reloading import Reloading, Reread
from cortex.gateway.settings import GatewaySettings
from cortex.kit.clock import SystemClock
from cortex.kit.handed_socket import LINE, LOG_FORMAT, Handed, shown
from cortex.kit.notify import Notifier
from cortex.kit.startup import obey_hangup
from cortex.kit.successor import Predecessor, Successor, own_command, start_successor
from cortex.kit.task import TaskOwner
from cortex.kit.watchdog import Watchdog

log = logging.getLogger(__name__)

GC_THRESHOLDS = (20_000, 20, 50)
"""The hot path makes no cycles; fewer collections mean fewer pauses."""
SUCCESSOR_S = 60.0
"""How long a successor may take until it serves."""
STUCK_S = 10.0
"""What keeps time for requests does so twice a second; when it has not for so long, the process is to be restarted."""


def serve(
    settings: GatewaySettings,
    profiles: Iterable[Profile],
    reload: Read | None = None,
    watched: Path | None = None,
    *,
    reread: Reread | None = None,
    handed: Handed | None = None,
    notifier: Notifier | None = None,
    command: Sequence[str] | None = None,
) -> int:
    """Run a gateway until it is told to end, or replaced; return the exit code.

    ``reload`` reads the catalogue anew, at SIGHUP and when the file ``watched`` changes; ``reread`` reads the settings,
    at SIGHUP. ``handed``: the sockets to listen on, where somebody has opened them. ``command``: what a successor is
    started as, by default what this process was.
    """
    _raise_file_limit()
    life = Lifetime(
        settings, reload or (lambda: profiles), watched, reread, handed or {}, notifier or Notifier(), command
    )
    with asyncio.Runner(loop_factory=_loop_factory(settings.gateway.event_loop)) as runner:
        runner.run(life.run(profiles))
    return 0


class Lifetime:
    """One gateway process from its first task to its last."""

    def __init__(
        self,
        settings: GatewaySettings,
        reload: Read,
        watched: Path | None,
        reread: Reread | None,
        handed: Handed,
        notifier: Notifier,
        command: Sequence[str] | None,
    ) -> None:
        self._reading = Reloading(settings, reread, SystemClock())
        self._reload = reload
        self._watched = watched
        self._handed = handed
        self._notifier = notifier
        self._command = command or own_command()

    async def run(self, profiles: Iterable[Profile]) -> None:
        """Live. Raises: ConfigError for what cannot be as configured."""
        self._stopping, self._at_once = asyncio.Event(), asyncio.Event()
        self._replaced = asyncio.Event()
        self._tasks, self._watching = TaskOwner(), TaskOwner()
        self._handing_over: asyncio.Task[None] | None = None
        self._is_up = self._is_ready = False
        clock, line = SystemClock(), self._handed.pop(LINE, [])
        self._gateway = gateway = Gateway(
            self._reading.settings,
            profiles,
            clock=clock,
            rng=Random(),
            handed=self._handed,
            is_successor=bool(line),
            env=os.environ,
        )
        self._reading.apply = gateway.take_settings
        self._watchdog = Watchdog(
            self._notifier, asyncio.get_running_loop(), trouble=self._trouble, status=gateway.status
        )
        self._watch = CatalogueWatch(self._watched, self._reload, gateway.take_catalogue, clock=clock)
        for collect in (self._reading.collect, self._watch.collect):
            gateway.metrics.add(collect)
        self._obey_signals()
        if not line:  # until it is the service a successor has nothing to say
            self._watchdog.start()
        await gateway.start(knows_fleet=bool(self._handed))
        if line:
            await _first_of(self._tasks, Predecessor(line[0]).relieve(), self._stopping.wait())
            self._watchdog.start()
        self._settled()
        await _first_of(self._tasks, self._stopping.wait(), self._replaced.wait())
        await self._end()
        await self._tasks.stop()

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._be_told)
        loop.add_signal_handler(signal.SIGHUP, self._read_again)
        loop.add_signal_handler(signal.SIGUSR2, self._replace)
        obey_hangup()

    def _settled(self) -> None:
        """The start is over."""
        gateway, self._is_up = self._gateway, True
        if self._reading.settings.gateway.watch_models and self._watched is not None:
            self._watching.start(self._watch.run(), "watch the catalogue")
        self._tasks.start(self._tell_ready(), "tell that the start is over")
        api, metrics = (", ".join(map(shown, gateway.sockets[name])) for name in ("api", "metrics"))
        log.info("gateway %s %s: API on %s, metrics on %s", gateway.id, __version__, api, metrics)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def _tell_ready(self) -> None:
        """Whoever is to start after this gateway finds one that knows its fleet."""
        await self._gateway.known()
        if not self._stopping.is_set():
            self._is_ready, self._watchdog.takes_its_time = True, False
            self._notifier.ready(self._gateway.status())

    def _trouble(self) -> str:
        silent_s = self._gateway.unswept_s()
        return f"requests have had nobody to keep time for {silent_s:.0f} s" if silent_s > STUCK_S else ""

    # signals

    def _be_told(self) -> None:
        (self._at_once if self._stopping.is_set() else self._stopping).set()

    def _read_again(self) -> None:
        if self._stopping.is_set() or self._replaced.is_set():
            return
        if self._is_ready:
            self._notifier.reloading()
        self._reading.read()
        self._watch.reload()
        self._gateway.tls.reload()
        if self._is_ready:
            self._notifier.ready(self._gateway.status())

    def _replace(self) -> None:
        """Start a successor, unless one is being started already."""
        if self._stopping.is_set() or self._replaced.is_set():
            log.warning("SIGUSR2: this gateway is about to end; no successor is started")
        elif self._handing_over is not None and not self._handing_over.done():
            log.warning("SIGUSR2: a successor is being started already")
        elif not self._is_up:
            log.warning("SIGUSR2: this gateway is being started itself")
        elif os.getpid() == 1:
            log.error("SIGUSR2: the first process of a container cannot be replaced: the container would end with it")
        else:
            self._handing_over = self._tasks.start(self._hand_over(), "hand over")

    # hand-over

    async def _hand_over(self) -> None:
        """Go on as before when nothing comes of it."""
        log.info("SIGUSR2: starting a successor")
        gateway = self._gateway
        try:
            await gateway.resign()
            more = {**self._notifier.handed_on(), LOG_FORMAT: self._reading.settings.gateway.log_format}
            successor = start_successor(gateway.sockets, more, self._command)
            await self._until_ready(successor)
            self._give_way(successor)
        except (CortexError, OSError) as error:
            log.error("no successor: %s; this process serves on", error)
        finally:
            if not self._replaced.is_set():
                gateway.stand_again()

    def _give_way(self, successor: Successor) -> None:
        log.info("process %d has taken over; this one ends when its clients are gone", successor.pid)
        self._watchdog.stop()
        self._notifier.main_process(successor.pid)
        self._notifier.close()
        self._gateway.leave(accepts=False)
        successor.take_over()
        self._replaced.set()

    async def _until_ready(self, successor: Successor) -> None:
        """Raises: NoSuccessor, also when this process is told to end meanwhile: then both do."""
        try:
            await successor.ready(SUCCESSOR_S)
        except asyncio.CancelledError:
            await successor.stop()
            raise

    # the end

    async def _end(self) -> None:
        await self._watching.stop()
        if self._replaced.is_set():
            grace_s = self._reading.settings.gateway.handover_grace_s
            if await _first_of(self._tasks, self._gateway.left(grace_s), self._stopping.wait()) == 0:
                await self._stop(0)
                return
        await self._stop_in_order()

    async def _stop_in_order(self) -> None:
        if self._handing_over is not None and not self._handing_over.done():
            self._handing_over.cancel()
            await asyncio.wait((self._handing_over,))
        section = self._reading.settings.gateway
        self._watchdog.takes_its_time = True
        self._watchdog.look()
        self._notifier.stopping(f"stopping; running requests have {section.shutdown_grace_s:g} s")
        if section.drain_delay_s and not self._replaced.is_set():
            log.info("stopping: for %g s requests are still taken", section.drain_delay_s)
            self._gateway.leave(accepts=True)
            await _first_of(self._tasks, self._at_once.wait(), limit_s=section.drain_delay_s)
        log.info("stopping: running requests have %g s to finish", section.shutdown_grace_s)
        await self._stop(section.shutdown_grace_s)
        self._watchdog.stop()

    async def _stop(self, grace_s: float) -> None:
        """Stop with grace, or without it from the moment a second signal comes."""
        tasks = TaskOwner()
        ending = tasks.start(self._gateway.stop(grace_s), "stop")
        hurrying = tasks.start(self._at_once.wait(), "second signal")
        await asyncio.wait((ending, hurrying), return_when=asyncio.FIRST_COMPLETED)
        await tasks.stop()
        if ending.cancelled():
            await self._gateway.stop(0)
        else:
            ending.result()


async def _first_of(tasks: TaskOwner, *waits: Coroutine[Any, Any, Any], limit_s: float | None = None) -> int | None:
    """Return which of several is over first, None when none is in time; the others are given up."""
    running = [tasks.start(wait, "waiting for the end") for wait in waits]
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED, timeout=limit_s)
        return next((place for place, task in enumerate(running) if task.done()), None)
    finally:
        for task in running:
            task.cancel()


def _loop_factory(wanted: str) -> Callable[[], Any] | None:
    """Return what makes the event loop: uvloop's where it is installed and not ruled out. Raises: ConfigError."""
    is_there = importlib.util.find_spec("uvloop") is not None
    if wanted == "asyncio" or (wanted == "auto" and not is_there):
        return None
    if not is_there:
        raise ConfigError('[gateway] event_loop: "uvloop" is not installed (the extra "fast" has it); use "auto".')
    import uvloop

    return uvloop.new_event_loop  # type: ignore[no-any-return, unused-ignore]


def _raise_file_limit() -> None:
    """Two descriptors per stream: systemd's soft default of 1024 would end at 500 streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""One model in a server that several models share, as an engine: started by loading it there, stopped by unloading it.

What differs between kinds of servers is behind ``SharedApi``. The server itself is started, stopped and restarted by
others; here its process is only watched. What it says of a model is believed only as far as it goes: ``loaded`` is
ready when the server is healthy too, and ``unloaded`` ends the engine, while its memory is measured elsewhere.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from cortex.contract.instance import InstanceError
from cortex.kit.task import TaskOwner
from cortex.neuron.harness.interface import Activity, EngineExit
from cortex.neuron.process.child import Child
from cortex.neuron.state_dir import Handle
from cortex.residency.backoff import Backoff

log = logging.getLogger(__name__)

ModelState = Literal["loaded", "loading", "unloaded"]

READY_POLL = Backoff(first_s=0.02, limit_s=1.0, factor=1.5)
GONE_LOOKS = 2
"""Looks in a row that must find a model gone before it counts as gone: a list may be taken amid a change."""
SILENT_LOOKS = 15
"""After so many looks without an answer a server whose process nobody knows counts as gone; one whose process runs
hangs, which is told to who waits for an unload."""
UNLOAD_WAIT_S = 600.0
"""How long a stop waits for a load that cannot be called off, and for the unload itself, beyond its grace."""


class SharedApi(Protocol):
    """One shared server, as its kind is spoken to. Names are those by which the server knows its models."""

    async def states(self) -> Mapping[str, ModelState] | None:
        """Return the state of every model that it lists; None when it does not answer."""
        ...

    async def is_healthy(self) -> bool:
        """Tell whether the server says that it is well."""
        ...

    async def load(self, name: str) -> InstanceError | None:
        """Load a model, or join a load under way; return when that is over: None, or why it failed."""
        ...

    async def unload(self, name: str) -> None:
        """Ask for the unload of a model that is loaded; whether it is gone is looked for afterwards."""
        ...

    async def activity(self, name: str) -> Activity | None:
        """Return what the server does for a model; None when it does not say."""
        ...

    async def last_words(self) -> tuple[str, ...]:
        """Return the last lines of the server's own log, as far as they can be had."""
        ...


class Pace(NamedTuple):
    """How often a server is looked at."""

    watch_s: float = 2.0
    unload_wait_s: float = UNLOAD_WAIT_S
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class SharedEngine:
    """One model in a shared server. ``child``: the server's process; None where nobody knows it.

    ``scribe``: a process that writes the server's log into the model's own as long as this engine is led.
    """

    def __init__(
        self,
        api: SharedApi,
        handle: Handle,
        child: Child | None,
        pace: Pace | None = None,
        scribe: Child | None = None,
    ) -> None:
        self._api = api
        self._handle = handle
        self._child = child
        self._scribe = scribe
        self._pace = pace or Pace()
        self._owner = TaskOwner()
        self._tasks: list[asyncio.Task[None]] = []
        self._serves = asyncio.Event()
        self._load_over = asyncio.Event()
        self._end: asyncio.Future[EngineExit] = asyncio.get_running_loop().create_future()
        self._is_leaving = False
        self._silent_looks = 0
        self._hangs = asyncio.Event()
        """The server is to unload the model, runs, and has not answered for long."""

    @property
    def handle(self) -> Handle:
        return self._handle

    def begin(self, *, load: bool) -> None:
        """Load the model and watch it, or only watch one that is there or on its way."""
        self._start(lambda: self._lead(load), "model")
        child = self._child
        if child is not None:
            self._start(lambda: self._watch_process(child), "server")

    async def ready(self) -> None:
        await self._serves.wait()

    async def exited(self) -> EngineExit:
        return await asyncio.shield(self._end)

    async def activity(self) -> Activity | None:
        return await self._api.activity(self._handle.engine_model)

    async def stop(self, grace_s: float) -> bool:
        """Unload the model; a load under way is waited for, since no server calls one off. One that hangs is not."""
        if not self._is_leaving and not self._end.done():
            self._is_leaving = True
            self._start(self._leave, "unload")
        hangs = self._owner.start(self._hangs.wait(), "unload in vain")
        limit_s = grace_s + self._pace.unload_wait_s
        try:
            await asyncio.wait((self._end, hangs), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hangs.cancel()
        return self._end.done()

    def let_go(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._child is not None:
            self._child.let_go()
        if self._scribe is not None:
            self._scribe.signal(signal.SIGTERM)

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._tasks.append(self._owner.start(self._guarded(work), f"{name} of {self._handle.engine_model}"))

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End the engine with a defect of ours rather than watch nothing for ever."""
        try:
            await work()
        except Exception as error:
            log.exception("%s: it cannot be led any more", self._handle.engine_model)
            self._over(InstanceError(code="internal_error", message=f"{type(error).__name__}: {error}"))

    async def _lead(self, load: bool) -> None:
        """Load, then watch until the model is gone."""
        try:
            failure = await self._api.load(self._handle.engine_model) if load else None
        finally:
            self._load_over.set()
        if failure is not None:
            self._over(failure)
        elif not self._is_leaving:
            await self._watch_model()

    async def _watch_model(self) -> None:
        looks, gone = 0, 0
        while not self._is_leaving and not self._end.done():
            state = await self._look()
            gone = gone + 1 if state == "unloaded" else 0
            if state == "loaded" and not self._serves.is_set() and await self._api.is_healthy():
                self._serves.set()
            if gone >= GONE_LOOKS and not self._is_leaving:
                self._over(await self._lost())
            await self._pace.sleep(self._pace.watch_s if self._serves.is_set() else READY_POLL.delay_s(looks))
            looks += 1

    async def _watch_process(self, child: Child) -> None:
        await child.wait()
        lines = await self._api.last_words()
        self._over(InstanceError(code="server_gone", message=f"{self._server} has ended", log_tail=lines))

    async def _leave(self) -> None:
        await self._load_over.wait()
        looks = silent = 0
        while (state := await self._look()) != "unloaded" and not self._end.done():
            silent = silent + 1 if state is None else 0
            if silent >= SILENT_LOOKS:
                self._hangs.set()
            if state == "loaded":
                await self._api.unload(self._handle.engine_model)
            await self._pace.sleep(READY_POLL.delay_s(looks))
            looks += 1
        self._over(InstanceError(code="unloaded", message=f"{self._handle.engine_model} was unloaded"))

    async def _look(self) -> ModelState | None:
        """Return the model's state; one that is not listed is not there. A server long silent and unseen is gone."""
        states = await self._api.states()
        self._silent_looks = self._silent_looks + 1 if states is None and self._child is None else 0
        if self._silent_looks >= SILENT_LOOKS:
            self._over(InstanceError(code="server_silent", message=f"{self._server} does not answer any more"))
        return None if states is None else states.get(self._handle.engine_model, "unloaded")

    async def _lost(self) -> InstanceError:
        name, lines = self._handle.engine_model, await self._api.last_words()
        if self._serves.is_set():
            words = f"{self._server} has unloaded {name}, and nobody here asked for it"
            return InstanceError(code="unloaded_elsewhere", message=words, log_tail=lines)
        return InstanceError(code="engine_failed", message=f"{self._server} did not load {name}", log_tail=lines)

    def _over(self, error: InstanceError) -> None:
        """Note the end, once, and stop watching; called from one of the tasks that watch."""
        if not self._end.done():
            self._end.set_result(EngineExit(error=error))
        self._load_over.set()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if self._child is not None:
            self._child.let_go()
        if self._scribe is not None:
            self._scribe.signal(signal.SIGTERM)

    @property
    def _server(self) -> str:
        return f"the server at {self._handle.url}"

"""One running engine that is a process of ours and speaks HTTP: is it ready, what is it doing, why did it end.

What differs between kinds comes in as data (``EngineKind``) and as questions (``Questions``). Engines do not drain,
and say why they ended only in their log. ``process_host.py`` starts and finds them.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from cortex.contract.error import UpstreamError
from cortex.contract.instance import InstanceError
from cortex.kit.http_client import HttpClient, HttpReply
from cortex.neuron.harness.interface import Activity, EngineExit
from cortex.neuron.process.child import Child
from cortex.neuron.process.last_words import how_it_ended, last_words
from cortex.neuron.process.log_tail import tail
from cortex.neuron.process.port import HostPorts
from cortex.neuron.state_dir import Handle
from cortex.residency.backoff import Backoff

HTTP_DEADLINE_S = 5.0
READY_POLL = Backoff(first_s=0.01, limit_s=0.5, factor=1.3)

ABOVE_LINES = 400
"""Looked through for the cause of an end where the last lines do not name it."""

KILLED = frozenset(-number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
"""It was ended from outside, which says nothing of its model."""

Ask = Callable[[str], Awaitable[HttpReply | None]]
"""Sends a GET to a path below the engine's URL, with its key; None when no answer comes in time."""


class Questions(Protocol):
    """How engines of one kind are asked."""

    async def is_serving(self, ask: Ask, handle: Handle) -> bool:
        """Tell whether requests are answered well from now on."""
        ...

    async def activity(self, ask: Ask) -> Activity | None:
        """Return what the engine is doing; None when it does not say."""
        ...

    async def context(self, ask: Ask, handle: Handle) -> int | None:
        """Return how many tokens one request may have; None when the engine does not say."""
        ...


class PathQuestions(NamedTuple):
    """Questions that one path answers each."""

    ready_path: str = "/health"
    """Answered with 200 by an engine that serves."""
    metrics_path: str | None = None
    """Where the engine's own counts are, as text for ``read``."""
    read: Callable[[str], Activity | None] = lambda _: None

    async def is_serving(self, ask: Ask, handle: Handle) -> bool:
        """Tell whether the path is answered with 200."""
        reply = await ask(self.ready_path)
        return reply is not None and reply.status == 200

    async def context(self, ask: Ask, handle: Handle) -> int | None:
        """No path says it."""
        return None

    async def activity(self, ask: Ask) -> Activity | None:
        """Return what the metrics say; what cannot be read is not taken for quiet."""
        if self.metrics_path is None:
            return None
        reply = await ask(self.metrics_path)
        try:
            return None if reply is None or reply.status != 200 else self.read(reply.body.decode())
        except ValueError:
            return None


class EngineKind(NamedTuple):
    """What all engines of one entry have in common."""

    program: str
    """As it is called in messages."""
    questions: Questions
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_s: float | None = None
    """Between that signal and SIGKILL, where this kind needs a time of its own."""


class ProcessEngine:
    """A process with a port, and the questions of its kind."""

    def __init__(
        self,
        kind: EngineKind,
        child: Child,
        handle: Handle,
        ports: HostPorts,
        http: HttpClient,
        log: Path,
        log_begin: int,
    ) -> None:
        self._kind = kind
        self._child = child
        self._handle = handle
        self._ports = ports
        self._http = http
        self._log = log
        self._log_begin = log_begin
        self._has_port = True

    @property
    def handle(self) -> Handle:
        return self._handle

    async def ready(self) -> None:
        polls = 0
        while not await self._kind.questions.is_serving(self._ask, self._handle):
            await asyncio.sleep(READY_POLL.delay_s(polls))
            polls += 1
        context = await self._kind.questions.context(self._ask, self._handle)
        self._handle = msgspec.structs.replace(self._handle, context=context)

    async def exited(self) -> EngineExit:
        code = await self._child.wait()
        self._give_port_back()
        lines = tail(self._log, since_byte=self._log_begin)
        why = last_words(lines)
        if not why.is_known:  # some say it far above: in one of several processes, or before a long stack trace
            above = last_words(tail(self._log, ABOVE_LINES, since_byte=self._log_begin))
            why = above if above.is_known else why
        reason = "out_of_memory" if why.is_out_of_memory else "engine_failed"
        if not why.is_known and code in KILLED:
            reason = "engine_killed"
        # Killed by somebody else it had no time for a word: the last line is what it did before.
        cause = why.cause if why.is_known or code != -signal.SIGKILL else ""
        message = f"{self._kind.program} {how_it_ended(code)}" + (f": {cause}" if cause else "")
        return EngineExit(
            error=InstanceError(code=reason, message=message, log_tail=lines), is_port_taken=why.is_port_taken
        )

    async def activity(self) -> Activity | None:
        return await self._kind.questions.activity(self._ask)

    async def stop(self, grace_s: float) -> bool:
        # Zero means at once, whatever the kind needs: the caller has waited already, or must not wait.
        own_s = self._kind.stop_grace_s if grace_s > 0 else None
        is_gone = await self._child.stop(grace_s if own_s is None else own_s, self._kind.stop_signal)
        if is_gone:
            self._give_port_back()
        return is_gone

    def let_go(self) -> None:
        self._child.let_go()

    def _give_port_back(self) -> None:
        """Once only: the next time it may be another engine's."""
        if self._has_port:
            self._has_port = False
            self._ports.give_back(self._handle.port)

    async def _ask(self, path: str) -> HttpReply | None:
        key = self._handle.credential
        headers = None if key is None else {"authorization": f"Bearer {key}"}
        try:
            return await self._http.request("GET", self._handle.url + path, deadline_s=HTTP_DEADLINE_S, headers=headers)
        except UpstreamError:
            return None


def not_started(code: str, message: str, log: Path) -> EngineExit:
    """Return the end of an engine that never ran."""
    return EngineExit(error=InstanceError(code=code, message=message, log_tail=tail(log)))

"""One running llama-server: is it ready, what is it doing, why did it end.

It answers 503 while it loads, does not drain on SIGTERM, and says why it ended only in its log; failures of all sorts
have exit code 1 (measured with build 11549, 2026-11).
"""

import asyncio
import contextlib
from pathlib import Path

from cortex.contract.error import UpstreamError
from cortex.contract.instance import InstanceError
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.interface import Activity, EngineExit
from cortex.neuron.llama_server import activity_in
from cortex.neuron.process.child import Child
from cortex.neuron.process.last_words import how_it_ended, last_words
from cortex.neuron.process.log_tail import tail
from cortex.neuron.process.port import HostPorts
from cortex.neuron.state_dir import Handle
from cortex.residency.backoff import Backoff

HTTP_DEADLINE_S = 5.0
READY_POLL = Backoff(first_s=0.01, limit_s=0.5, factor=1.3)


class LlamaEngine:
    """One llama-server process."""

    def __init__(
        self, child: Child, handle: Handle, ports: HostPorts, http: HttpClient, log: Path, log_begin: int
    ) -> None:
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
        while not await self._is_serving():
            await asyncio.sleep(READY_POLL.delay_s(polls))
            polls += 1

    async def exited(self) -> EngineExit:
        code = await self._child.wait()
        self._give_port_back()
        lines = tail(self._log, since_byte=self._log_begin)
        why = last_words(lines)
        reason = "out_of_memory" if why.is_out_of_memory else "engine_failed"
        message = f"llama-server {how_it_ended(code)}" + (f": {why.cause}" if why.cause else "")
        return EngineExit(
            error=InstanceError(code=reason, message=message, log_tail=lines), is_port_taken=why.is_port_taken
        )

    async def activity(self) -> Activity | None:
        try:
            reply = await self._http.request("GET", self._handle.url + "/metrics", deadline_s=HTTP_DEADLINE_S)
            return activity_in(reply.body.decode()) if reply.status == 200 else None
        except (UpstreamError, ValueError):
            return None

    async def stop(self, grace_s: float) -> bool:
        is_gone = await self._child.stop(grace_s)
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

    async def _is_serving(self) -> bool:
        with contextlib.suppress(UpstreamError):
            reply = await self._http.request("GET", self._handle.url + "/health", deadline_s=HTTP_DEADLINE_S)
            return reply.status == 200
        return False


def not_started(code: str, message: str, log: Path) -> EngineExit:
    """Return the end of an engine that never ran."""
    return EngineExit(error=InstanceError(code=code, message=message, log_tail=tail(log)))

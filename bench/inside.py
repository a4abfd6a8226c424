"""``python -m bench.inside``: what a request costs in Python alone, with its two sockets taken away.

The gateway is the real one with everything on, in this process, and its neuron another; but what a client sends and an
engine answers is handed to it, and what it writes is thrown away. The steps of the interpreter do not depend on what
else the machine does, so they show what a change costs where times only scatter. What sockets and kernel cost stands in
``RESULTS.md``.
"""

import asyncio
import gc
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import uvloop

from bench.build import build
from bench.campaign import equipment
from bench.child import Child
from bench.peer.cortex import BIN, GATEWAY, NEURON
from bench.peer.interface import wait_ready
from bench.place import choose_cores
from bench.port import free_port
from bench.table import markdown
from cortex.gateway.app import Gateway
from cortex.gateway.data.front_connection import FrontConnection
from cortex.gateway.data.record_queue import MAX_HELD
from cortex.gateway.data.upstream import Origin, Owner, UpstreamConnection
from cortex.gateway.lifetime import GC_THRESHOLDS
from cortex.gateway.settings import load_gateway_settings
from cortex.kit.clock import SystemClock

BODY = b'{"model":"bench","max_tokens":16,"messages":[{"role":"user","content":"%b"}]}' % (b"x" * 900)
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"%b"},"finish_reason":"stop"}],"usage":{"completion_tokens":16,"prompt_tokens":20,'
    b'"total_tokens":36}}' % (b"y" * 600)
)
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    b"Authorization: Bearer sk-bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(BODY), BODY)
)
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
ROUNDS, REQUESTS = 9, 2000
TRACED = 2 * MAX_HELD
"""So that records are handed over as often as they usually are."""
SHOWN = 30


class NoSocket:
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        self.last = b""

    def write(self, data: bytes) -> None:
        self.last = data

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Inside:
    """One gateway, one client's connection and one to an engine."""

    def __init__(self, gateway: Gateway) -> None:
        self._client = NoSocket()
        self._engine: UpstreamConnection | None = None
        self._is_connected = asyncio.Event()
        gateway._plane.upstream.connect = self._connect  # type: ignore[method-assign]
        self._front = FrontConnection(gateway._door)
        self._front.connection_made(self._client)  # type: ignore[arg-type]

    def _connect(self, origin: Origin, owner: Owner) -> None:
        self._engine = UpstreamConnection(origin)
        self._engine.connection_made(NoSocket())  # type: ignore[arg-type]
        owner.on_connected(self._engine)
        self._is_connected.set()

    async def begin(self) -> None:
        """Serve the first one, for which the neuron is asked where its model is."""
        self._front.data_received(REQUEST)
        await self._is_connected.wait()
        assert self._engine is not None
        self._engine.data_received(REPLY)

    def end(self) -> None:
        """Hang up on both sides."""
        self._front.connection_lost(None)
        if self._engine is not None:
            self._engine.connection_lost(None)

    def request(self) -> None:
        """Serve one."""
        assert self._engine is not None
        self._front.data_received(REQUEST)
        self._engine.data_received(REPLY)

    async def requests(self, count: int) -> float:
        """Serve many; return the microseconds of CPU that each took."""
        begin_s = time.process_time()
        for number in range(count):
            self.request()
            if number % 32 == 0:
                await asyncio.sleep(0)
        assert self._client.last.startswith(b"HTTP/1.1 200"), self._client.last[:300]
        return (time.process_time() - begin_s) / count * 1e6

    def steps(self) -> Counter[str]:
        """Serve some; return the steps of the interpreter that they took, by function."""
        found: Counter[str] = Counter()

        def trace(frame: FrameType, event: str, _: object) -> Any:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            found[frame.f_code.co_qualname] += event == "opcode"
            return trace

        sys.settrace(trace)
        for _ in range(TRACED):
            self.request()
        sys.settrace(None)
        return found


async def measure(folder: Path, neuron: int) -> list[str]:
    """Return the section of a report."""
    config = folder / "cortex.toml"
    config.write_text(GATEWAY.format(port=free_port(), metrics=free_port(), neuron=neuron))
    gateway = Gateway(load_gateway_settings(config, {}), (), clock=SystemClock(), rng=Random(1))
    await gateway.start(knows_fleet=True)
    inside = Inside(gateway)
    try:
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        await inside.begin()
        await inside.requests(REQUESTS)
        spent = [await inside.requests(REQUESTS) for _ in range(ROUNDS)]
        return _report(spent, inside.steps())
    finally:
        inside.end()
        await gateway.stop(0.1)


def _report(spent: list[float], steps: Counter[str]) -> list[str]:
    rows = [[name, f"{count / TRACED:.0f}"] for name, count in steps.most_common(SHOWN)]
    return [
        f"A request is {steps.total() / TRACED:,.0f} steps of the interpreter, {statistics.median(spent):.1f} us "
        f"({min(spent):.1f}-{max(spent):.1f}).",
        "",
        *markdown([["function", "steps"], *rows]),
    ]


def main() -> None:
    cores = choose_cores()
    with equipment(build(), cores) as (upstream, _, folder):
        port = free_port()
        config = folder / "neuron.toml"
        config.write_text(NEURON.format(port=port, folder=folder, upstream=upstream.port))
        argv = [BIN / "cortex-neuron", "--config", config]
        node = Child(argv, core=cores.client, log=folder / "neuron.log", cwd=folder)
        try:
            wait_ready(node, port, "/readyz", 30)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                print("\n".join(runner.run(measure(folder, port))))
        finally:
            node.stop()


if __name__ == "__main__":
    main()

"""``python -m bench.watch``: what watching many nodes costs one gateway's control plane, in shares of one core.

The nodes are addresses of loopback, at which one child process answers what neurons would: reports with a sample and
what changed, event streams with a comment now and then. Of every hundred answers one tells a change.
"""

import argparse
import asyncio
import importlib.util
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing import Process, Queue
from random import Random

import msgspec

from bench.table import markdown
from cortex.contract.instance import InstanceReport
from cortex.contract.lease import HealthSample, InstanceUse, LeaseAnswer, LeasePost, SampledDevice
from cortex.contract.node import Device, Discovery, HarnessDetail
from cortex.contract.profile import Profile
from cortex.gateway.control.assembly import build_control
from cortex.gateway.settings import GatewaySection, GatewaySettings, NeuronEntry
from cortex.kit.clock import SystemClock
from cortex.kit.task import TaskOwner

NODES, MODELS = 1000, 20
SECONDS = 30.0
GOAL_SHARE = 0.2
HEALTHY_SHARE = 0.99
"""On a machine that does other things a call or two may be late."""
CHANGES_PER_ANSWER = 0.01
WARM_UP_S = 15.0
COMMENT_S = 15.0


class Neurons(asyncio.Protocol):
    """One connection to whichever neuron; no more of HTTP than the client of a gateway needs."""

    def __init__(self, models: int, events: dict[str, int], rng: Random) -> None:
        self._models = models
        self._events = events
        self._rng = rng
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._name = str(transport.get_extra_info("sockname")[0])

    def data_received(self, data: bytes) -> None:
        self._held += data
        while True:
            head, blank, rest = self._held.partition(b"\r\n\r\n")
            if not blank:
                return
            lines = (line.lower() for line in head.split(b"\r\n"))
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            if len(rest) < length:
                return
            body, self._held = rest[:length], rest[length:]
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/events":
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            self._comment()
        elif path == b"/discovery":
            self._send(_discovery())
        elif path == b"/leases":
            self._send(self._leases(msgspec.json.decode(body, type=LeasePost)))
        else:
            self._send({"url": "http://127.0.0.1:9", "generation": 1, "slots": 4})

    def _comment(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b": still here\n\n")
            asyncio.get_running_loop().call_later(COMMENT_S, self._comment)

    def _leases(self, post: LeasePost) -> LeaseAnswer:
        known = self._events.setdefault(self._name, 5)
        if self._rng.random() < CHANGES_PER_ANSWER:
            self._events[self._name] = known = known + 1
        is_first = not post.start_id
        is_changed = is_first or known > post.seen_event
        return LeaseAnswer(
            start_id=self._name,
            event=known,
            ttl_s=40.0,
            cancel_settle_s=10.0,
            health=HealthSample(age_s=1.0, devices=tuple(SampledDevice(index=i, vram_free_mb=9_000) for i in range(4))),
            snapshot=is_first,
            models=tuple(_reports(self._models if is_first else 1)) if is_changed else (),
            in_use=(InstanceUse(model_id="m0", in_flight=1, idle_s=round(self._rng.random(), 1)),),
        )

    def _send(self, answer: object) -> None:
        body = msgspec.json.encode(answer)
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def _reports(count: int) -> list[InstanceReport]:
    return [
        InstanceReport(
            id=f"m{number}",
            harness="llamacpp",
            status="unloaded" if number > 2 else "loaded",
            generation=0 if number > 2 else 1,
            parallel=4,
        )
        for number in range(count)
    ]


def _discovery() -> Discovery:
    return Discovery(
        hostname="h",
        os="Linux",
        kernel="6",
        devices=tuple(Device(index=index, name="GPU", vram_total_mb=24_000) for index in range(4)),
        harnesses=("llamacpp",),
        harness_details=(HarnessDetail(name="llamacpp", kind="llamacpp", usable=True),),
    )


def _serve(models: int, ports: "Queue[int]") -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        events, rng = dict[str, int](), Random(1)
        server = await loop.create_server(lambda: Neurons(models, events, rng), "0.0.0.0", 0, backlog=4096)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def _watch(nodes: int, port: int, seconds: float) -> tuple[float, int]:
    """Return the share of a core that watching takes, and how many nodes are healthy."""
    entries = tuple(
        NeuronEntry(name=f"n{i}", endpoint=f"http://127.{1 + i // 62_500}.{i // 250 % 250}.{1 + i % 250}:{port}")
        for i in range(nodes)
    )
    settings = GatewaySettings(gateway=GatewaySection(), neurons=entries)
    tasks, profiles = TaskOwner(), [Profile(id=f"m{number}", harness="llamacpp") for number in range(1000)]
    control = build_control(settings, profiles, clock=SystemClock(), tasks=tasks, rng=Random(1), gateway_id="bench")
    await control.start()
    await asyncio.sleep(WARM_UP_S)
    began_s, spent_s = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    share = (time.process_time() - spent_s) / (time.monotonic() - began_s)
    healthy = sum(is_healthy for _, is_healthy in control.reads.node_states())
    await control.stop()
    await tasks.stop()
    return share, healthy


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop that a gateway would run in."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


def lines(nodes: int = NODES, models: int = MODELS, seconds: float = SECONDS) -> list[str]:
    """Return the section of a report."""
    share, healthy = measured(nodes, models, seconds)
    about = f"{nodes:,} nodes of {models} models each, polled every 10 s, in one gateway"
    row = [about, f"{share:.1%} of a core", verdict(share, healthy, nodes)]
    return ["### Watching", "", *markdown([["watch", "cost", "goal"], row])]


def verdict(share: float, healthy: int, nodes: int) -> str:
    """Judge the share of a core that watching takes; what does not answer costs something else, and is no measure."""
    if healthy < HEALTHY_SHARE * nodes:
        return f"**missed**: only {healthy:,} of {nodes:,} nodes are healthy"
    return f"less than {GOAL_SHARE:.0%} of a core: {'reached' if share < GOAL_SHARE else '**missed**'}"


def measured(nodes: int, models: int, seconds: float) -> tuple[float, int]:
    """Return the share of a core that watching takes, and how many nodes are healthy."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ports: Queue[int] = Queue()
    neurons = Process(target=_serve, args=(models, ports), daemon=True)
    neurons.start()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_watch(nodes, ports.get(), seconds))
    finally:
        neurons.terminate()
        neurons.join()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main() -> int:
    """Print the section; the exit code is 1 when the goal is missed."""
    parser = argparse.ArgumentParser(prog="bench.watch", description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--models", type=int, default=MODELS, help="models that every node lists")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    args = parser.parse_args()
    text = "\n".join(lines(args.nodes, args.models, args.seconds))
    print(text)
    return int("missed" in text)


if __name__ == "__main__":
    sys.exit(main())

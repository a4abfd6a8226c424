"""One gateway on loopback sockets between raw clients and scripted engines, with everything at rest when a test ends.

    @scene(cuts, good, nodes=2)
    async def test_the_other_replica_answers(it: Scene) -> None: ...

Every test runs on asyncio's own loop and on uvloop. It fails when a request is left in flight, an engine is left busy,
a connection of a client is left open, or anything is logged as an error.
"""

import asyncio
import contextlib
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from random import Random
from typing import NamedTuple

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.gateway.hostile_engine import HostileEngine, Script, Turn, good
from tests.integration.gateway.raw_client import LIMIT_S, Answer, RawClient, connected

from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.view import ReplicaView
from cortex.gateway.app import Gateway
from cortex.gateway.data.record import RequestRecord
from cortex.gateway.settings import GatewaySection, GatewaySettings, NeuronEntry, StoreSection
from cortex.kit.clock import SystemClock
from cortex.kit.trace_setting import TraceSection
from cortex.testing.fake_neuron import FakeNeuron

Counters = list[Callable[[], int]]

MODEL = "org/m"
PROFILES = (Profile(id=MODEL, harness="llamacpp", vram_mb=1000, aliases=("short",)),)
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
ASK_STREAM = {**ASK, "stream": True}
FENCE = "/i/nonce"


class Scene:
    """A gateway, and per node a neuron and its engine."""

    def __init__(self, gateway: Gateway, neurons: list[FakeNeuron], engines: list[HostileEngine]) -> None:
        self.gateway = gateway
        self.neurons = neurons
        self.engines = engines
        self.records: list[RequestRecord] = []
        """What the gateway put on record of its requests."""

    @property
    def engine(self) -> HostileEngine:
        return self.engines[0]

    @property
    def neuron(self) -> FakeNeuron:
        return self.neurons[0]

    @property
    def turns(self) -> list[Turn]:
        """What was sent to engines, over all of them, in order."""
        return self.engine.all_turns

    @property
    def dispatcher(self) -> Dispatcher:
        return self.gateway._control.dispatcher

    def replica(self) -> ReplicaView:
        """Return the one replica as it is now."""
        (model,) = self.dispatcher.view(SystemClock().now_s()).models
        (replica,) = model.replicas
        return replica

    def use(self, *scripts: Script) -> None:
        """Let the engines go through other scripts, from the next request on."""
        self.turns.clear()
        for engine in self.engines:
            engine.scripts = list(scripts)

    def client(self, **options: int) -> contextlib.AbstractAsyncContextManager[RawClient]:
        """Connect a raw client."""
        return connected(self.gateway.port, **options)

    async def ask(self, body: bytes | object = ASK, *headers: str, **where: str) -> Answer:
        """Send one request on a connection of its own and return the whole answer."""
        async with self.client() as client:
            await client.ask(body, *headers, **where)
            return await client.answer(has_body=where.get("method") != "HEAD")

    async def get(self, path: str, *headers: str) -> Answer:
        """Send a GET."""
        return await self.ask(b"", *headers, path=path, method="GET")

    async def get_metrics(self) -> bytes:
        """Return what a scraper gets."""
        async with connected(self.gateway.metrics_port) as client:
            await client.ask(b"", path="/metrics", method="GET")
            return (await client.answer()).body

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a metric that have these labels."""
        text = (await self.get_metrics()).decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def at_rest(self) -> None:
        """Wait until nothing is in flight, in the gateway's books and in the engines."""
        await until(lambda: not self.gateway.in_flight())
        await until(lambda: not any(engine.busy() for engine in self.engines))


class Notes(NamedTuple):
    """Keeps records. Implements Recorder."""

    records: list[RequestRecord]

    def record(self, record: RequestRecord) -> None:
        self.records.append(record)


def scene(*scripts: Script, **options: object) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Make a test of a coroutine function; see ``staged`` for the options."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        own = list(inspect.signature(test).parameters.values())[1:]
        ours = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("in_flight_zero", "loop_factory")]

        @functools.wraps(test)
        def run(*, in_flight_zero: Counters, loop_factory: object, **arguments: object) -> None:
            async def play() -> None:
                async with staged(in_flight_zero, *scripts, **options) as it:
                    await test(it, **arguments)

            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(play())

        run.__signature__ = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in own] + ours)
        return run

    return decorate


@contextlib.asynccontextmanager
async def staged(
    counters: Counters,
    *scripts: Script,
    nodes: int = 1,
    loaded: bool = True,
    engine_model: str = "",
    parallel: int | None = None,
    fence: str = FENCE,
    vram_mb: Iterable[Iterable[int]] = (),
    profiles: tuple[Profile, ...] = PROFILES,
    store_url: str | None = None,
    trace: TraceSection = TraceSection(),  # noqa: B008 - it cannot change
    **section: object,
) -> AsyncIterator[Scene]:
    """Start everything, wait until the gateway knows its nodes, and see that everything is at rest in the end.

    The engines of all nodes go through ``scripts`` together, request by request; the last one is used for all that
    follow. ``vram_mb``: the devices of each node. What else is given goes into ``[gateway]``.
    """
    turns: list[Turn] = []
    memory = list(vram_mb) or [(24_000,)] * nodes
    async with contextlib.AsyncExitStack() as stack:
        complaints = stack.enter_context(no_error_logged())
        engines = [await stack.enter_async_context(HostileEngine(*(scripts or (good,)), turns=turns)) for _ in memory]
        neurons = []
        for engine, devices in zip(engines, memory, strict=True):
            neuron = FakeNeuron(engine_url=f"http://127.0.0.1:{engine.port}{fence}", vram_mb=devices)
            neuron.engine_model, neuron.parallel = engine_model, parallel
            if loaded:
                neuron.put(MODEL)
            neurons.append(await stack.enter_async_context(neuron))
        wished = msgspec.structs.replace(settings(neurons, store_url, **section), trace=trace)
        gateway = Gateway(wished, profiles, clock=SystemClock(), rng=Random(1))
        counters.append(gateway.in_flight)
        it = Scene(gateway, neurons, engines)
        gateway._plane._recorders += (Notes(it.records),)
        look_often(gateway)
        await gateway.start()
        try:
            await until(lambda: is_known(it, loaded))
            async with asyncio.timeout(LIMIT_S):
                yield it
            await it.at_rest()
        finally:
            await gateway.stop(0)
        assert complaints == []


def settings(neurons: list[FakeNeuron], store_url: str | None = None, **section: object) -> GatewaySettings:
    """The settings of a gateway on free ports."""
    free = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "poll_s": 0.5, "access_log": False}
    entries = tuple(NeuronEntry(name=f"n{number}", endpoint=neuron.url) for number, neuron in enumerate(neurons))
    return GatewaySettings(
        gateway=GatewaySection(**{**free, **section}), neurons=entries, store=StoreSection(url=store_url)
    )


def look_often(gateway: Gateway) -> None:
    """Let time limits be noticed soon: the gateway looks at its clock so rarely only to spare itself the work."""
    for owner in (gateway._plane, gateway._door):
        owner.limit = msgspec.structs.replace(owner.limit, sweep_s=0.02)


def is_known(it: Scene, is_loaded: bool) -> bool:
    """Whether every node was asked, and every loaded model can be used."""
    dispatcher = it.dispatcher
    if not dispatcher.are_all_nodes_tried():
        return False
    replicas = [replica for model in dispatcher.view(SystemClock().now_s()).models for replica in model.replicas]
    return not is_loaded or sum(replica.is_ready for replica in replicas) == len(it.neurons)


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(LIMIT_S):
        while not is_so():  # noqa: ASYNC110 - what it waits for has no event; whatever happens next may be it
            await asyncio.sleep(0)


@contextlib.contextmanager
def no_error_logged() -> Iterable[list[str]]:
    """Collect what is logged as an error, crashed tasks and callbacks included."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(self.format(record))

    ear = Ear(logging.ERROR)
    logging.getLogger().addHandler(ear)
    try:
        yield said
    finally:
        logging.getLogger().removeHandler(ear)

"""A neuron by the contract, without a host: a real HTTP server on a free loopback port, whose every answer is scripted.

Models change state only by what a test or a ``POST /models/load`` does; a load ends when ``load_gate`` is open. Nothing
here sleeps: tests wait with :meth:`FakeNeuron.until`.

    async with FakeNeuron() as neuron:
        neuron.put("org/model", "loaded")
        ...                                         # point a gateway at neuron.url
        await neuron.until(lambda: neuron.count("POST /models/load") == 1)
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from urllib.parse import unquote

import msgspec
from aiohttp import web

from cortex.contract.error import CortexError
from cortex.contract.instance import (
    EVENT_HEADER,
    START_ID_HEADER,
    EndpointAnswer,
    InstanceError,
    InstanceReport,
    InstanceStatus,
    LoadAnswer,
    LoadRequest,
    PinAnswer,
    PinRequest,
    UnloadAnswer,
    UnloadReason,
    UnloadRequest,
)
from cortex.contract.lease import HealthSample, LeasePost, SlotGrant
from cortex.contract.node import (
    Device,
    DeviceReading,
    Discovery,
    HarnessDetail,
    Health,
    MaintenanceAnswer,
    MaintenanceRequest,
)
from cortex.kit.clock import Clock, SystemClock
from cortex.kit.event_stream import HEARTBEAT_S, Bell, Since
from cortex.neuron.edge_error import body_of, status_of
from cortex.neuron.event import EventCounter
from cortex.neuron.event_feed import EventFeed
from cortex.neuron.lease import LeaseDesk, Leases, sampled
from cortex.neuron.refusal import Maintenance
from cortex.residency.lease_book import LeaseBook
from cortex.residency.leased_generation import Serving
from cortex.testing.loopback_server import LoopbackServer


class Refused(msgspec.Struct, frozen=True):
    """An error that the neuron is told to answer with."""

    status: int
    code: str
    message: str
    details: dict[str, object] = {}


LINES_AT_ONCE = 10


class FakeLog:
    """The log of an engine, to be written and ended by hand."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.readers = 0
        """How many follow it."""
        self.told = 0
        """How many lines the last of them was sent, or is being sent."""
        self._bell = Bell()
        self._readers_changed = Bell()
        self._is_over = False

    def write(self, *lines: str) -> None:
        """Write further lines."""
        self.lines += lines
        self._bell.ring()

    def end(self) -> None:
        """The engine ends."""
        self._is_over = True
        self._bell.ring()

    async def until_followed_by(self, readers: int) -> None:
        """Wait until so many follow it."""
        while self.readers != readers:
            await self._readers_changed.wait(HEARTBEAT_S)

    async def follow(self, lines: int) -> AsyncGenerator[bytes]:
        """Yield the last lines and what is written, until the end."""
        self._count(1)
        self.told = max(0, len(self.lines) - lines)
        try:
            while True:
                news = self.lines[self.told : self.told + LINES_AT_ONCE]
                self.told += len(news)
                if news:
                    yield "".join(f"{line}\n" for line in news).encode()
                elif self._is_over:
                    return
                else:
                    await self._bell.wait(HEARTBEAT_S)
        finally:
            self._count(-1)

    def _count(self, by: int) -> None:
        self.readers += by
        self._readers_changed.ring()


class FakeNeuron(LoopbackServer):
    """One scripted neuron. ``vram_mb`` lists the memory of each device; ``engine_url`` is where its engines "are"."""

    def __init__(
        self,
        *,
        vram_mb: Iterable[int] = (24_000,),
        harnesses: Iterable[str] = ("llamacpp",),
        engine_url: str = "http://127.0.0.1:9",
        headroom_mb: int = 0,
        token: str | None = None,
        start_id: str = "life-1",
        lease_ttl_s: float = 40.0,
        clock: Clock | None = None,
    ) -> None:
        self.engine_url = engine_url
        self.models: dict[str, InstanceReport] = {}
        self.logs: dict[str, FakeLog] = {}
        self.calls: list[str] = []
        self.heard: list[dict[str, str]] = []
        """The headers of each, names in lower case."""
        self.loads: list[LoadRequest] = []
        self.holders: set[str] = set()
        self.load_gate = asyncio.Event()
        self.load_gate.set()
        self.answer_gate = asyncio.Event()
        self.answer_gate.set()
        self.load_failures: deque[InstanceError] = deque()
        self.load_refusals: deque[Refused] = deque()
        self.refuse_all: Refused | None = None
        self.has_leases = True
        """False: it is of a make that knows neither of leases nor of events."""
        self.posts: list[LeasePost] = []
        self.endpoint_refusal: Refused | None = None
        self.load_answer_gate = asyncio.Event()
        self.load_answer_gate.set()
        self.loses_load_answers = False
        """The connection breaks once a load is taken, before that is said."""
        self.engine_model: str = ""
        self.parallel: int | None = None
        self.maintenance = False
        self._vram_mb = tuple(vram_mb)
        self._harnesses = tuple(harnesses)
        self._headroom_mb = headroom_mb
        self._token = token
        self._loading: dict[str, InstanceError | None] = {}
        self._generation = 0
        super().__init__()
        self._changed = asyncio.Event()
        self._lease_ttl_s = lease_ttl_s
        self._clock = clock or SystemClock()
        self._feed: EventFeed | None = None
        self._begin(start_id, {})

    @property
    def start_id(self) -> str:
        """This life of it."""
        return self._events.start_id

    @property
    def event(self) -> int:
        """The number of its newest change."""
        return self._events.event

    async def start(self) -> None:
        """Listen, on the port of the last time if there was one."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/discovery", self._get_discovery)
        app.router.add_get("/health", self._get_health)
        app.router.add_get("/models", self._get_models)
        app.router.add_post("/leases", self._post_leases)
        app.router.add_get("/events", self._get_events)
        app.router.add_post("/models/pin", self._post_pin)
        app.router.add_post("/maintenance", self._post_maintenance)
        app.router.add_post("/models/load", self._post_load)
        app.router.add_post("/models/unload", self._post_unload)
        app.router.add_get("/models/{model:.+}/endpoint", self._get_endpoint)
        app.router.add_get("/models/{model:.+}/logs", self._get_logs)
        await self._listen(app, handler_cancellation=True)

    def put(
        self,
        model: str,
        status: InstanceStatus = "loaded",
        *,
        devices: tuple[int, ...] = (0,),
        declared_mb: int | None = None,
        progress: float | None = None,
    ) -> InstanceReport:
        """Make the neuron have a model in a state; a model that gets loaded starts a new generation."""
        before = self.models.get(model)
        if before is None or (status in ("loaded", "loading") and before.status not in ("loaded", "loading")):
            self._generation += 1
            generation = self._generation
        else:
            generation = before.generation
        report = InstanceReport(
            id=model,
            harness=self._harnesses[0] if self._harnesses else "",
            kind=self._harnesses[0] if self._harnesses else "",
            status=status,
            devices=devices,
            generation=generation,
            parallel=self.parallel,
            declared_mb=declared_mb,
            progress=progress,
        )
        return self._keep(report)

    def maintain(self, is_on: bool) -> None:
        """Begin maintenance, or end it, as an operator does."""
        self.maintenance = is_on
        self._note()

    def fail(self, model: str, error: InstanceError) -> None:
        """Make a model fail, as a crashed engine does."""
        self._keep(msgspec.structs.replace(self.models[model], status="failed", error=error))

    def remove(self, model: str) -> None:
        """Make the neuron know nothing of a model."""
        self.models.pop(model, None)
        self._loading.pop(model, None)
        self._note()

    def restart(self, start_id: str) -> None:
        """Begin another life with the same engines, as after a restart that adopted them."""
        self._begin(start_id, self.leases.book.held())
        self._note()

    def drain(self, model: str) -> None:
        """Make a model drain, as an unload or an eviction would begin."""
        self._keep(msgspec.structs.replace(self.models[model], status="draining"))

    def unload(self, model: str, reason: UnloadReason = "request") -> None:
        """Unload a model at once, or call its load off."""
        self._loading.pop(model, None)
        self._keep(msgspec.structs.replace(self.put(model, "unloaded", devices=()), unload_reason=reason))

    def slots_of(self, gateway_id: str) -> tuple[SlotGrant, ...]:
        """Return what a gateway was told that it may use."""
        return self.leases.slots_of(gateway_id, -1)

    def has_all_acknowledged(self, model: str) -> bool:
        """Tell whether every gateway that holds a draining model has seen that it drains."""
        return self.leases.has_all_acknowledged(model, self.models[model].generation, self._clock.now_s())

    def count(self, call: str) -> int:
        """Return how often ``"METHOD /path"`` was called; ids in paths are unquoted."""
        return self.calls.count(call)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, looking after every call and change."""
        while not is_so():
            self._changed.clear()
            await self._changed.wait()

    def _begin(self, start_id: str, held: Mapping[int, frozenset[str]]) -> None:
        """Begin a life, with the book of leases that a real neuron keeps."""
        self._events = EventCounter(start_id)
        known_from_s = self._clock.now_s() + self._lease_ttl_s
        book = LeaseBook(ttl_s=self._lease_ttl_s, cancel_settle_s=10.0, known_from_s=known_from_s)

        def serving() -> list[Serving]:
            return [
                Serving(
                    model_id=report.id,
                    generation=report.generation,
                    parallel=report.parallel,
                    is_draining=report.status == "draining",
                    held_before=held.get(report.generation, frozenset()),
                )
                for report in self.models.values()
                if report.status in ("loaded", "draining")
            ]

        def reports() -> list[InstanceReport]:
            return list(self.models.values())

        self.leases = Leases(book, self._events, self._clock, serving)

        def is_in_maintenance() -> bool:
            return self.maintenance

        if self._feed is not None:
            self._feed.close()
        self._feed = feed = EventFeed(self._events, reports, tuple, self.leases.slots, is_in_maintenance)
        self._desk = LeaseDesk(self.leases, self._events, feed, reports, self._sample, is_in_maintenance)

    def _sample(self) -> HealthSample:
        return HealthSample(age_s=0.0, devices=sampled(self._readings()))

    def _readings(self) -> tuple[DeviceReading, ...]:
        return tuple(
            DeviceReading(index=index, vram_used_mb=0, vram_free_mb=total_mb)
            for index, total_mb in enumerate(self._vram_mb)
        )

    def _keep(self, report: InstanceReport) -> InstanceReport:
        self.models[report.id] = report
        self._note()
        return report

    def _note(self) -> None:
        self._events.bump()
        self._changed.set()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.calls.append(f"{request.method} {unquote(request.raw_path.partition('?')[0])}")
        self.heard.append({name.lower(): value for name, value in request.headers.items()})
        self._changed.set()
        await self.answer_gate.wait()
        self._settle_loads()
        if self._token is not None and request.headers.get("Authorization") != f"Bearer {self._token}":
            response: web.StreamResponse = _refusal(Refused(401, "unauthorized", "a token is needed"))
        elif self.refuse_all is not None:
            response = _refusal(self.refuse_all)
        else:
            response = await handler(request)
        response.headers[START_ID_HEADER] = self.start_id
        response.headers[EVENT_HEADER] = str(self.event)
        return response

    async def _get_discovery(self, _request: web.Request) -> web.Response:
        return _json(
            Discovery(
                hostname="fake",
                os="Linux",
                kernel="6",
                devices=tuple(
                    Device(index=index, name="Fake GPU", vram_total_mb=total_mb)
                    for index, total_mb in enumerate(self._vram_mb)
                ),
                harnesses=self._harnesses,
                harness_details=tuple(HarnessDetail(name=name, kind=name, usable=True) for name in self._harnesses),
                headroom_mb=self._headroom_mb,
                start_id=self.start_id,
                event=self.event,
                neuron_version="fake",
                evict_grace_s=5.0,
                max_wait_s=120.0,
                drain_timeout_s=300.0,
            )
        )

    async def _get_health(self, _request: web.Request) -> web.Response:
        return _json(
            Health(
                uptime_secs=1.0,
                devices=self._readings(),
                start_id=self.start_id,
                event=self.event,
                maintenance=self.maintenance,
            )
        )

    async def _post_pin(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=PinRequest)
        if wanted.model_id not in self.models:
            return _refusal(Refused(404, "model_not_found", f"no model '{wanted.model_id}'"))
        report = msgspec.structs.replace(self.models[wanted.model_id], pinned=bool(wanted.pinned))
        return _json(PinAnswer(pinned=self._keep(report).pinned))

    async def _post_maintenance(self, request: web.Request) -> web.Response:
        self.maintain(msgspec.json.decode(await request.read(), type=MaintenanceRequest).on)
        return _json(MaintenanceAnswer(maintenance=self.maintenance))

    async def _get_models(self, _request: web.Request) -> web.Response:
        return _json(list(self.models.values()))

    async def _get_events(self, request: web.Request) -> web.StreamResponse:
        if not self.has_leases:
            return _refusal(Refused(404, "path_not_found", "no such path"))
        assert self._feed is not None
        text = request.headers.get("Last-Event-ID")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for part in self._feed.stream(Since.parse(text) if text else None):
            await response.write(part)
        return response

    async def _post_leases(self, request: web.Request) -> web.Response:
        if not self.has_leases:
            return _refusal(Refused(404, "path_not_found", "no such path"))
        try:
            post = msgspec.json.decode(await request.read(), type=LeasePost)
            self.posts.append(post)
            return _json(self._desk.answer(post))
        except msgspec.ValidationError as error:
            return _refusal(Refused(400, "malformed_request", str(error)))
        except CortexError as error:
            return _json(body_of(error), status_of(error))

    async def _post_load(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=LoadRequest)
        self.loads.append(wanted)
        if self.load_refusals:
            return _refusal(self.load_refusals.popleft())
        model = wanted.model_id
        held = self.models.get(model)
        if held is None or held.status not in ("loaded", "loading"):
            if self.maintenance:
                return _json(body_of(Maintenance()), status_of(Maintenance()))
            held = self.put(model, "loading", devices=wanted.devices or ())
            self._loading[model] = self.load_failures.popleft() if self.load_failures else None
        await self.load_answer_gate.wait()
        if self.loses_load_answers and request.transport is not None:
            request.transport.abort()
        return _json(LoadAnswer(status="loaded" if held.status == "loaded" else "loading", generation=held.generation))

    def _settle_loads(self) -> None:
        """End the loads that may end by now. Done on the next call, so that the fake needs no task of its own."""
        if not self.load_gate.is_set():
            return
        for model, failure in list(self._loading.items()):
            del self._loading[model]
            if failure is None:
                self.put(model, "loaded", devices=self.models[model].devices)
            else:
                self.fail(model, failure)

    async def _post_unload(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=UnloadRequest)
        if wanted.model_id not in self.models:
            return _refusal(Refused(404, "model_not_found", f"no model '{wanted.model_id}'"))
        self.unload(wanted.model_id)
        return _json(UnloadAnswer(status="unloaded"))

    async def _get_endpoint(self, request: web.Request) -> web.Response:
        model = request.match_info["model"]
        report = self.models.get(model)
        if report is None:
            return _refusal(Refused(404, "model_not_found", f"no model '{model}'"))
        if report.status != "loaded":
            return _refusal(Refused(409, "not_loaded", f"'{model}' is {report.status}"))
        if self.endpoint_refusal is not None:
            return _refusal(self.endpoint_refusal)
        gateway = request.query.get("gateway", "")
        if gateway:
            self.holders.add(gateway)
        return _json(
            EndpointAnswer(
                url=self.engine_url,
                generation=report.generation,
                engine_model=self.engine_model or report.id,
                slots=self.leases.hold(gateway, model) if gateway else None,
                kind=report.kind,
            )
        )

    async def _get_logs(self, request: web.Request) -> web.StreamResponse:
        model, lines = request.match_info["model"], int(request.query["lines"])
        log = self.logs.get(model)
        if log is None:
            return _refusal(Refused(404, "model_not_found", f"no model '{model}'"))
        if "follow" not in request.query:
            return _json({"id": model, "lines": log.lines[-lines:]})
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async with aclosing(log.follow(lines)) as told:
            async for text in told:
                await response.write(text)
        return response


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _refusal(refused: Refused) -> web.Response:
    body = {"error": {"code": refused.code, "message": refused.message, "details": refused.details}}
    return web.Response(status=refused.status, body=msgspec.json.encode(body), content_type="application/json")

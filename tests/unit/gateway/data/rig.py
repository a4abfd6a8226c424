"""The data plane between a scripted client and scripted engines: real calls, real HTTP parsing, no socket, no time.

The places are handed out by a test, the clock is moved by a test, and every byte goes in and out by hand:

    with rig() as it:
        it.leases.next("wait")
        client = it.post(b'{"model":"m"}')
        it.leases.grant(it.place())
        engine = it.upstream.accept()
        engine.say(b"HTTP/1.1 200 OK\\r\\n...")

Leaving the block asserts that nothing is left: no running call, no ticket out, no record missing.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import httptools
import msgspec
from tests.unit.gateway.data.hand_loop import START_S, FakeLoop
from tests.unit.gateway.data.said import COMMENT as COMMENT
from tests.unit.gateway.data.said import DONE as DONE
from tests.unit.gateway.data.said import ROLE as ROLE
from tests.unit.gateway.data.said import SSE_HEAD as SSE_HEAD
from tests.unit.gateway.data.said import chunked as chunked
from tests.unit.gateway.data.said import token as token
from tests.unit.gateway.data.said import usage as usage
from tests.unit.gateway.data.said import whole as whole

from cortex.contract.error import CortexError, MalformedRequest, UpstreamUnreachable
from cortex.contract.key import Key
from cortex.dialects.interface import Keep, Need
from cortex.fleet.effect import Grant, Target
from cortex.fleet.outlook import Outlook
from cortex.gateway.data.access import Access
from cortex.gateway.data.background import BackgroundCalls
from cortex.gateway.data.dialect_page import DialectPages
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.page import FleetPages
from cortex.gateway.data.plane import CallLimit, Plane
from cortex.gateway.data.record import RequestRecord
from cortex.gateway.data.response_shelf import MemoryShelf, ResponseKeeper
from cortex.gateway.data.router import DataRouter
from cortex.gateway.data.token_count import TokenCounter
from cortex.gateway.data.upstream import Origin, Owner, Upstream, UpstreamConnection
from cortex.gateway.ports import ShelfLimit, Suspicion, Waiter
from cortex.kit.http_client import HttpClient
from cortex.kit.task import TaskOwner

EPOCH_S = 1_800_000_000.0


class Transport:
    """Takes down what is written; what was cut is told to the protocol when the rig settles."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_paused = False
        self.is_closed = False
        self.is_aborted = False
        self.on_write: Callable[[], None] = lambda: None
        """What happens within every write, like a full buffer's pause."""

    def write(self, data: bytes) -> None:
        assert not self.is_closed, "written to after its close"
        self.written += data
        self.on_write()

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_reading(self) -> bool:
        return not self.is_paused and not self.is_closed

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, _name: str) -> None:
        return None


class Answer:
    """What a client was sent, parsed by a strict parser: ``status``, ``headers``, ``body``, ``is_whole``."""

    def __init__(self, data: bytes) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_whole = False
        self._parser = httptools.HttpResponseParser(self)
        if data:
            self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        assert name.decode() not in self.headers, f"{name!r} twice"
        self.headers[name.decode()] = value.decode()

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True

    @property
    def error(self) -> dict[str, Any]:
        """The error of the body, or of its last event."""
        return dict(msgspec.json.decode(self.events()[-1] if self.is_stream else self.body)["error"])

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    def events(self) -> list[bytes]:
        """Data of every event, read as the event stream format says (joined lines, comments left out)."""
        found = []
        for block in self.body.decode().replace("\r\n", "\n").split("\n\n"):
            lines = [line[5:].strip() for line in block.split("\n") if line.startswith("data:")]
            if lines:
                found.append("\n".join(lines).encode())
        return found


class Client:
    """A client's connection with one request on it; stands in for the front door."""

    def __init__(self, peer: str = "10.0.0.9") -> None:
        self.peer = peer
        self.transport = Transport()
        self.is_held = False
        """Reading was paused by the handler."""
        self.is_aborted = False
        self.ended = 0
        self.exchange: Exchange = None  # type: ignore[assignment]

    def exchange_ended(self, exchange: Exchange) -> None:
        self.ended += 1
        exchange.handler = None

    def pause_reading(self) -> None:
        self.is_held = True

    def resume_reading(self) -> None:
        self.is_held = False

    def abort(self) -> None:
        self.is_aborted = True
        self.transport.abort()

    def body(self, piece: bytes) -> None:
        """Send a part of the body."""
        if self.exchange.handler is not None:
            self.exchange.handler.on_body(piece)

    def end(self) -> None:
        """The request is complete."""
        self.exchange.is_received = True
        if self.exchange.handler is not None:
            self.exchange.handler.on_end()

    def leave(self) -> None:
        """Be gone in the middle of an answer."""
        self.transport.abort()
        handler, self.exchange.handler = self.exchange.handler, None
        if handler is not None and not self.exchange.is_ended:
            self.exchange.is_ended = True
            handler.on_gone()

    def slow_down(self) -> None:
        """Read slower than is written."""
        assert self.exchange.handler is not None
        self.exchange.handler.on_pause()

    def catch_up(self) -> None:
        assert self.exchange.handler is not None
        self.exchange.handler.on_resume()

    @property
    def answer(self) -> Answer:
        return Answer(bytes(self.transport.written))

    @property
    def is_over(self) -> bool:
        return self.ended == 1 or self.is_aborted


class Engine:
    """The far end of one upstream connection."""

    def __init__(self, connection: UpstreamConnection, transport: Transport) -> None:
        self.connection = connection
        self.transport = transport
        self._seen = 0

    def received(self) -> bytes:
        """What came since the last look."""
        seen, self._seen = self._seen, len(self.transport.written)
        return bytes(self.transport.written[seen:])

    def say(self, *reads: bytes) -> None:
        """Send; each argument is one read of the gateway's socket."""
        for read in reads:
            self.connection.data_received(read)

    def stream(self, *pieces: bytes, end: bool = False) -> None:
        """Send the head of a stream and some of it, in one read."""
        self.say(SSE_HEAD + chunked(*pieces, end=end))

    def more(self, *pieces: bytes, end: bool = False) -> None:
        """Send more of a stream."""
        self.say(chunked(*pieces, end=end))

    def lose(self) -> None:
        """Die: the connection is reset."""
        self.transport.is_closed = True
        self.connection.connection_lost(ConnectionResetError())

    def close(self) -> None:
        """End the connection in an orderly way."""
        self.connection.eof_received()
        self.transport.is_closed = True
        self.connection.connection_lost(None)

    @property
    def is_dropped(self) -> bool:
        """The gateway cut the connection."""
        return self.transport.is_aborted


VIA = b"1.1 cortex-test"


class ScriptedUpstream(Upstream):
    """Connections come about when a test says so."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop, TaskOwner(), connect_timeout_s=5, idle_limit_s=60, via=VIA)
        self.connecting: deque[tuple[Origin, Owner]] = deque()
        self.fails_at_once = 0

    def connect(self, origin: Origin, owner: Owner) -> None:
        if self.fails_at_once:
            self.fails_at_once -= 1
            owner.on_connect_failed(UpstreamUnreachable("no route"))
        else:
            self.connecting.append((origin, owner))

    def accept(self, on_write: Callable[[Engine], None] = lambda engine: None) -> Engine:
        """Let the oldest attempt succeed."""
        origin, owner = self.connecting.popleft()
        connection, transport = UpstreamConnection(origin), Transport()
        engine = Engine(connection, transport)
        transport.on_write = lambda: on_write(engine)
        connection.connection_made(transport)  # type: ignore[arg-type]
        owner.on_connected(connection)
        return engine

    def refuse(self) -> None:
        """Let the oldest attempt fail."""
        _, owner = self.connecting.popleft()
        owner.on_connect_failed(UpstreamUnreachable("The engine at x:1 cannot be reached: Connection refused."))


Plan = Target | CortexError | str


class ScriptedLeases:
    """Implements ``ports.Leases``, and holds both sides to what is written there."""

    def __init__(self) -> None:
        self.open: dict[int, Waiter] = {}
        """Tickets that are to be released."""
        self.granted: set[int] = set()
        self.released: list[int] = []
        self.asked: list[tuple[str, tuple[Target, ...]]] = []
        self.about: list[dict[str, Any]] = []
        """What else was told of each request: caller, tokens, head, patience_s."""
        self.cancelled: list[int] = []
        """Of the released ones those whose engine may be at it still."""
        self.vouched: list[int] = []
        self.outlooks: dict[int, Outlook] = {}
        self.suspected: list[tuple[Target, Suspicion]] = []
        self._plan: deque[tuple[Plan, bool]] = deque()
        self._numbers = count(1)

    def next(self, *plans: Plan, is_cold: bool = False) -> None:
        """Say what the next requests get within ``acquire``: a place, a refusal, or "wait" (the default)."""
        self._plan.extend((plan, is_cold) for plan in plans)

    def acquire(self, name: str, waiter: Waiter, *, avoid: tuple[Target, ...] = (), **about: object) -> int:
        ticket = next(self._numbers)
        self.asked.append((name, avoid))
        self.about.append(about)
        self.open[ticket] = waiter
        plan, is_cold = self._plan.popleft() if self._plan else ("wait", False)
        if isinstance(plan, Target):
            self.grant(plan, ticket, is_cold=is_cold)
        elif isinstance(plan, CortexError):
            self.refuse(plan, ticket)
        return ticket

    def grant(
        self, target: Target, ticket: int | None = None, *, is_cold: bool = False, is_probe: bool = False
    ) -> None:
        """Give a place to one who waits, by default to the first."""
        ticket = self._waiting(ticket)
        self.granted.add(ticket)
        self.open[ticket].granted(Grant(ticket, target, is_cold, is_probe))

    def refuse(self, error: CortexError, ticket: int | None = None, model: str = "m", node: str = "") -> None:
        """Refuse one who waits, by default the first."""
        self.open.pop(self._waiting(ticket)).refused(error, model, node)

    def _waiting(self, ticket: int | None) -> int:
        return ticket or next(ticket for ticket in self.open if ticket not in self.granted)

    def release(self, ticket: int, *, is_cancelled: bool = False) -> None:
        assert ticket in self.open, f"ticket {ticket} released twice, or after its refusal"
        del self.open[ticket]
        self.released.append(ticket)
        if is_cancelled:
            self.cancelled.append(ticket)

    def knows(self, name: str) -> bool:
        return name == "m"

    def names_of(self, name: str) -> tuple[str, ...]:
        return ("m", "alias-of-m") if name in ("m", "alias-of-m") else ()

    def vouch(self, ticket: int) -> None:
        assert ticket in self.granted, f"ticket {ticket} has no place"
        assert ticket in self.open, f"ticket {ticket} is not out"
        self.vouched.append(ticket)

    def outlook(self, ticket: int) -> Outlook | None:
        assert ticket in self.open, f"ticket {ticket} is not out"
        return self.outlooks.get(ticket)

    def suspect(self, target: Target, why: Suspicion) -> None:
        self.suspected.append((target, why))

    def suspicions(self) -> list[tuple[str, Suspicion]]:
        return [(target.node, why) for target, why in self.suspected]


class Fleet:
    """Implements ``ports.FleetReads`` from plain values."""

    def __init__(self) -> None:
        self.entries: list[dict[str, object]] = []
        self.state: dict[str, object] = {"status": "ok", "nodes": []}
        self.is_up = True
        self.places: dict[str, Target] = {}

    def model_entries(self) -> list[dict[str, object]]:
        return self.entries

    def health(self) -> dict[str, object]:
        return self.state

    def place_of(self, name: str) -> Target | None:
        return self.places.get(name)

    def is_ready(self) -> bool:
        return self.is_up


class Records(list[RequestRecord]):
    """Implements ``Recorder``."""

    def record(self, record: RequestRecord) -> None:
        self.append(record)


class Rig:
    """Everything that a request passes through."""

    def __init__(self, limit: CallLimit, access: Access) -> None:
        self.loop = FakeLoop()
        self.leases = ScriptedLeases()
        self.upstream = ScriptedUpstream(self.loop)
        self.records = Records()
        self.fleet = Fleet()
        self.tasks = TaskOwner()
        self.kept: list[Keep] = []
        self.is_stopping = False
        self.plane = Plane(
            self.loop,  # type: ignore[arg-type]
            limit,
            self.leases,
            self.upstream,
            (self.records,),
            id_prefix=b"req",
            epoch_s=lambda: EPOCH_S + self.loop.time() - START_S,
            tasks=self.tasks,
            fetcher=self,
            keep=self.kept.append,
        )
        pages = FleetPages(self.fleet, created_s=EPOCH_S, is_stopping=lambda: self.is_stopping)
        self.shelf = ResponseKeeper(MemoryShelf(ShelfLimit(), self.loop.time), self.tasks)
        self.background = BackgroundCalls(self.shelf, self.tasks, look_s=0)
        counter = TokenCounter(self.fleet, HttpClient())
        self.more = DialectPages(self.fleet, counter, self.shelf, self.background, created_s=EPOCH_S)
        self.router = DataRouter(self.plane, pages, self.more, access)
        self.plane.start()

    def request(
        self,
        method: bytes,
        path: bytes,
        *headers: tuple[bytes, bytes],
        query: bytes = b"",
        peer: str = "10.0.0.9",
        host: bytes = b"gateway",
    ) -> Client:
        """Send a request's head."""
        client, lines = Client(peer), [(b"host", host), *headers]
        client.exchange = exchange = Exchange(client, method, path, query, lines)  # type: ignore[arg-type]
        handler = self.router(exchange)
        if not exchange.is_ended:
            exchange.handler = handler
        return client

    def post(
        self,
        body: bytes,
        *headers: tuple[bytes, bytes],
        path: bytes = b"/v1/chat/completions",
        query: bytes = b"",
    ) -> Client:
        """Send a whole JSON request."""
        length = (b"content-length", str(len(body)).encode())
        client = self.request(b"POST", path, (b"content-type", b"application/json"), length, *headers, query=query)
        client.body(body)
        client.end()
        return client

    def get(self, path: bytes, *headers: tuple[bytes, bytes], query: bytes = b"", method: bytes = b"GET") -> Answer:
        """Ask for a page and return the answer."""
        client = self.request(method, path, *headers, query=query)
        client.end()
        return client.answer

    async def fetch(self, need: Need, key: Key | None) -> bytes | None:
        """Implements ``Fetcher``: nothing is to be had."""
        raise MalformedRequest(f"{need.ref} cannot be fetched.")

    def place(self, node: str = "a", url: str = "http://x:1", **keys: Any) -> Target:
        """Make a place where a model is served."""
        return Target(**({"node": node, "model": "m", "generation": 1, "url": url, "engine_model": "m"} | keys))

    @property
    def record(self) -> RequestRecord:
        """The only record there is."""
        (record,) = self.records
        return record

    def assert_nothing_left(self) -> None:
        assert self.plane.running == set()
        assert self.leases.open == {}, "tickets that nobody released"
        assert self.plane.limiter is None or not self.plane.limiter.in_use(), "something is taken of keys' limits"


@contextlib.contextmanager
def rig(access: Access | None = None, **limit: Any) -> Iterator[Rig]:
    """Yield a rig; afterwards nothing of any request may be left in it."""
    it = Rig(CallLimit(**limit), access or Access(["0.0.0.0/0"], []))
    yield it
    it.assert_nothing_left()
    it.plane.stop()
    assert it.loop.live() == []

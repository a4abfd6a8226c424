"""Which handler a request gets, by its method and path. Decides nothing about models, nodes or bodies."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from cortex.contract.error import (
    CallerError,
    LoopDetected,
    MalformedRequest,
    MethodNotAllowed,
    PathNotFound,
    StoreUnavailable,
)
from cortex.dialects.anthropic import ANTHROPIC
from cortex.dialects.interface import Dialect
from cortex.dialects.ollama import OLLAMA_CHAT
from cortex.dialects.openai import OPENAI
from cortex.dialects.responses import RESPONSES
from cortex.gateway.data.async_page import AsyncPage, Write
from cortex.gateway.data.body import JsonBody
from cortex.gateway.data.browser_rule import BY_BROWSER, BrowserRule
from cortex.gateway.data.dialect_page import DialectPages
from cortex.gateway.data.framing import check_framing
from cortex.gateway.data.key_door import ADMIN_PREFIX, OPEN, KeyDoor
from cortex.gateway.data.page import Answer, FleetPages, Page, failing, plain_answer
from cortex.gateway.data.playground import admit_player, played_route
from cortex.gateway.data.refusal import record_refusal, request_id_of
from cortex.gateway.data.route import INFERENCE, InferenceRoute
from cortex.gateway.data.upload import UploadBody

if TYPE_CHECKING:
    from cortex.gateway.data.access import Access
    from cortex.gateway.data.asgi import AsgiDoor
    from cortex.gateway.data.exchange import Exchange, Handler
    from cortex.gateway.data.plane import Plane
    from cortex.gateway.ports import KeyBook, Players

_MODEL_PREFIX = b"/v1/models/"
_MESSAGES = b"/v1/messages"
_OLLAMA = b"/api/"
_RESPONSES = b"/v1/responses"
DASHBOARD = b"/dashboard"
DASHBOARD_PREFIX = b"/dashboard/"
_MULTIPART = b"multipart/form-data"
_UNUSUAL = BY_BROWSER | {b"via"}
"""Headers that no SDK sends by itself, and that are to be looked at."""


class DataRouter:
    """The gateway's front door."""

    def __init__(
        self,
        plane: "Plane",
        pages: FleetPages,
        dialect_pages: DialectPages,
        access: "Access",
        admin: "AsgiDoor | None" = None,
        book: "KeyBook | None" = None,
        dashboard: "AsgiDoor | None" = None,
        browser: BrowserRule | None = None,
        players: "Players | None" = None,
    ) -> None:
        self._plane = plane
        self._dialect_pages = dialect_pages
        self._admin = admin
        self._dashboard = dashboard
        self._players = players
        self._browser = browser or BrowserRule()
        self._door = KeyDoor(access, book, lambda: plane.epoch_s(plane.now_s()))
        self._models = pages.models
        self._model = pages.model
        self._pages: dict[bytes, Callable[[], Answer]] = {
            b"/": pages.root,
            b"/health": pages.health,
            b"/livez": pages.livez,
            b"/readyz": pages.readyz,
        }

    def __call__(self, exchange: "Exchange") -> "Handler":
        route = INFERENCE.get(exchange.path)
        if route is None and self._dashboard is not None and is_for_dashboard(exchange):
            return self._to_dashboard(exchange, self._dashboard)
        try:
            _check_host(exchange)
            if exchange.method == b"OPTIONS" and (answer := self._browser.preflight(exchange)) is not None:
                return Page(exchange, lambda: answer, request_id_of(self._plane, exchange))
            is_usual = exchange.lacks(_UNUSUAL)
            if not is_usual:
                self._browser.check_origin(exchange)
            self._door.admit(exchange)
            if exchange.key is None and exchange.path not in OPEN:
                self._browser.check_host(exchange)
            if not is_usual and exchange.header(b"via") is not None:
                self._check_loop(exchange)
            if route is not None and exchange.method == b"POST":
                return self._inference(exchange, route)
            write = self._page_of_dialect(exchange)
        except (CallerError, LoopDetected, StoreUnavailable) as error:
            request_id = request_id_of(self._plane, exchange)
            if route is not None:
                record_refusal(self._plane, exchange, route, error, request_id, self._plane.now_s())
            if exchange.path.startswith(ADMIN_PREFIX):
                return Page(exchange, partial(plain_answer, error), request_id)
            return Page(exchange, failing(error), request_id, dialect_of(exchange, route))
        dialect = dialect_of(exchange, route)
        request_id = request_id_of(self._plane, exchange)
        if write is not None:
            return AsyncPage(self._plane, exchange, write, request_id, dialect)
        if self._admin is not None and exchange.path.startswith(ADMIN_PREFIX):
            return self._admin(exchange, request_id)
        return Page(exchange, self._answer_of(exchange, route), request_id, dialect)

    def _play(self, exchange: "Exchange", route: InferenceRoute, players: "Players") -> "Handler":
        """Serve a request of the playground."""
        try:
            self._admit_browser(exchange)
            admit_player(exchange, players)
            return self._inference(exchange, route)
        except (CallerError, StoreUnavailable) as error:
            request_id = request_id_of(self._plane, exchange)
            record_refusal(self._plane, exchange, route, error, request_id, self._plane.now_s())
            return Page(exchange, failing(error), request_id, route.dialect)

    def _admit_browser(self, exchange: "Exchange") -> None:
        """Let a request to the dashboard in, by a name that is ours. Raises: CallerError, StoreUnavailable."""
        _check_host(exchange)
        if not self._door.admit_browser(exchange):
            self._browser.check_host(exchange)

    def _to_dashboard(self, exchange: "Exchange", dashboard: "AsgiDoor") -> "Handler":
        if self._players is not None and (route := played_route(exchange)) is not None:
            return self._play(exchange, route, self._players)
        request_id = request_id_of(self._plane, exchange)
        if exchange.path == b"/":
            return Page(exchange, _go_to_dashboard, request_id)
        try:
            self._admit_browser(exchange)
        except (CallerError, StoreUnavailable) as error:
            return dashboard(exchange, request_id, error)
        return dashboard(exchange, request_id)

    def _page_of_dialect(self, exchange: "Exchange") -> Write | None:
        """Raises: CallerError."""
        found = self._dialect_pages.find(exchange.path, exchange.query, exchange.key)
        if found is None:
            return None
        method = b"GET" if exchange.method == b"HEAD" else exchange.method
        more = (b"HEAD",) if b"GET" in found else ()
        allowed = ", ".join(sorted(name.decode() for name in (*found, *more)))
        if method == b"OPTIONS":
            return partial(_options, allowed)
        if method not in found:
            raise MethodNotAllowed(f"{_shown(exchange.path)} takes {allowed}.", allowed=allowed)
        check_framing(exchange, self._plane.limit.max_body_bytes)
        exchange.accept_body()
        return found[method]

    def _check_loop(self, exchange: "Exchange") -> None:
        """Raise LoopDetected for a request that this gateway has sent."""
        own = self._plane.upstream.via
        if own and any(name == b"via" and own in value for name, value in exchange.headers):
            raise LoopDetected(
                "This request has been through this gateway before: a harness entry of some neuron names the gateway "
                "itself as its endpoint. Have the operator correct it."
            )

    def _inference(self, exchange: "Exchange", route: InferenceRoute) -> "Handler":
        check_framing(exchange, self._plane.limit.max_body_bytes)
        content_type = exchange.header(b"content-type") or b""
        if content_type[: len(_MULTIPART)].lower() == _MULTIPART:
            if not route.is_upload:
                raise CallerError(f"{route.path.decode()} takes a JSON body, not a form.", param="Content-Type")
            handler: Handler = UploadBody(self._plane, exchange, route, content_type)
        else:
            handler = JsonBody(self._plane, exchange, route, self._dialect_pages.background)
        exchange.accept_body()
        return handler

    def _answer_of(self, exchange: "Exchange", route: InferenceRoute | None) -> Callable[[], Answer]:
        path, query = exchange.path, exchange.query
        allowed = "POST"
        if route is None:
            write = self._pages.get(path)
            if path == b"/v1/models":
                write = partial(self._models, query, exchange.key)
            elif path.startswith(_MODEL_PREFIX) and len(path) > len(_MODEL_PREFIX):
                write = partial(self._model, path[len(_MODEL_PREFIX) :], exchange.key)
            if write is None:
                return failing(_no_such_path(path))
            if exchange.method in (b"GET", b"HEAD"):
                return write
            allowed = "GET, HEAD"
        return partial(_wrong_method, exchange.method, path, allowed)


def dialect_of(exchange: "Exchange", route: InferenceRoute | None) -> Dialect:
    """Return how a caller wants to be spoken to, also where nothing is served: by its path, else by its headers."""
    if route is not None:
        return route.dialect
    if exchange.path.startswith(_MESSAGES) or exchange.header(b"anthropic-version") is not None:
        return ANTHROPIC
    if exchange.path.startswith(_OLLAMA):
        return OLLAMA_CHAT
    if exchange.path.startswith(_RESPONSES):
        return RESPONSES
    return OPENAI


def _check_host(exchange: "Exchange") -> None:
    """Raise MalformedRequest unless the request names its host once, as RFC 9112 §3.2 asks for."""
    if exchange.header(b"host") is None:
        if not exchange.is_http10:
            raise MalformedRequest("The request has no Host header: HTTP/1.1 asks for one.", param="Host")
    elif exchange.repeats_header and sum(name == b"host" for name, _ in exchange.headers) > 1:
        raise MalformedRequest("The request has more than one Host header: send one.", param="Host")


def is_for_dashboard(exchange: "Exchange") -> bool:
    """Tell whether a request is one for pages: by its path, and at ``/`` by whether it would rather have HTML."""
    path = exchange.path
    if path != b"/":
        return path == DASHBOARD or path.startswith(DASHBOARD_PREFIX)
    return exchange.method in (b"GET", b"HEAD") and b"text/html" in (exchange.header(b"accept") or b"").lower()


def _go_to_dashboard() -> Answer:
    return Answer(302, b"", b"location: /dashboard/\r\nvary: accept\r\ncache-control: no-store\r\n")


async def _options(allowed: str, _body: bytes) -> Answer:
    return Answer(204, b"", f"allow: {allowed}, OPTIONS\r\n".encode())


def _wrong_method(method: bytes, path: bytes, allowed: str) -> Answer:
    if method == b"OPTIONS":
        return Answer(204, b"", f"allow: {allowed}, OPTIONS\r\n".encode())
    raise MethodNotAllowed(f"{_shown(path)} takes {allowed}, not {method.decode('latin-1')}.", allowed=allowed)


def _no_such_path(path: bytes) -> PathNotFound:
    known = ", ".join(sorted(known.decode() for known in INFERENCE))
    hint = ""
    if b"/v1" + path in INFERENCE or path == b"/models":
        hint = f" Did you mean /v1{path.decode()}? The base URL of OpenAI clients ends in /v1."
    elif path.startswith(b"/v1/v1/"):
        hint = f" Did you mean {path[3:].decode('latin-1')}? This base URL has one /v1 too many."
    return PathNotFound(f"There is nothing at {_shown(path)}.{hint} Served are GET /v1/models and POST {known}.")


def _shown(path: bytes) -> str:
    text = path[:200].decode("latin-1")
    return "".join(char if char.isprintable() else "?" for char in text)

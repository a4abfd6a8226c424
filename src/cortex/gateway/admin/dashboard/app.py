"""The dashboard as an application: finds the page, asks who is there, and answers in HTML whatever happens.

Whole pages are rendered in a thread, so that requests to models do not wait for them.

Let in are: while there are no keys, whom the front door has let in; after that, who has signed in with a key of scope
``admin``. What a page shows is the page's own (``registry``).
"""

import asyncio
import logging
from contextlib import aclosing
from functools import partial
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from cortex.contract.error import (
    BodyTooLarge,
    CallerError,
    CortexError,
    Forbidden,
    MethodNotAllowed,
    PathNotFound,
    StoreUnavailable,
    Unauthorized,
)
from cortex.gateway.admin.dashboard.difference import unmarked
from cortex.gateway.admin.dashboard.guard import check_origin
from cortex.gateway.admin.dashboard.live import Live
from cortex.gateway.admin.dashboard.page import ROOT, Action, Call, Desk, Page, Query, Reply
from cortex.gateway.admin.dashboard.registry import ACTIONS, PAGES
from cortex.gateway.admin.dashboard.render import Renderer
from cortex.gateway.admin.dashboard.session import is_same
from cortex.gateway.admin.dashboard.sign_in import SignIn, Visitor
from cortex.gateway.admin.dashboard.static_file import StaticFiles
from cortex.gateway.edge_error import retry_after_s, status_of
from cortex.gateway.ports import Message, Receive, Send

log = logging.getLogger(__name__)

STATIC = ROOT + "static/"
LIVE = ROOT + "live/"
MAX_FORM_BYTES = 1 << 16
MAX_FIELDS = 200
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
TOLD = ("model", "node", "pinned", "force", "name")
"""Fields of forms that stand in the log."""
TOKEN_FIELD = "token"
TOKEN_HEADER = "x-cortex-token"


class Dashboard:
    """The application. Raises nothing: whatever goes wrong is answered."""

    def __init__(self, desk: Desk, sign_in: SignIn, live: Live, title: str) -> None:
        self._desk = desk
        self._sign_in = sign_in
        self._live = live
        self._title = title
        self._renderer = Renderer()
        self._static = StaticFiles()
        self._pages = {ROOT + page.path: page for page in PAGES}
        self._actions: dict[str, dict[str, Action]] = {}
        for action in ACTIONS:
            self._actions.setdefault(ROOT + action.path, {})[action.method] = action

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. ``scope["cortex.refusal"]``: why the front door does not let it in."""
        request = Request(scope, receive)
        response = await self._answer(request, scope.get("cortex.refusal"))
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("cache-control", "no-store")
        await response(scope, receive, send)

    async def _answer(self, request: Request, refusal: CortexError | None) -> Response:
        visitor: Visitor | None = None
        try:
            if refusal is not None:
                raise refusal
            path = request.url.path
            if path.startswith(STATIC):
                return self._file(path[len(STATIC) :], request)
            if path in (ROOT + "sign-in", ROOT + "sign-out"):
                return await self._sign_in_or_out(path, request)
            visitor = self._sign_in.visitor(request)
            return await self._inside(path, request, visitor)
        except Unauthorized:
            return self._to_sign_in(request)
        except CortexError as error:
            return self._error(request, error, visitor)
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path[:200])
            return self._error(request, CortexError(), visitor)

    async def _inside(self, path: str, request: Request, visitor: Visitor) -> Response:
        """Answer somebody who may see everything. Raises: CortexError."""
        if path == ROOT[:-1]:
            return Response(status_code=308, headers={"location": ROOT})
        query = dict(request.query_params)
        if path.startswith(LIVE):
            return await self._stream(path[len(LIVE) :], request, visitor)
        actions = self._actions.get(path)
        if actions is not None:
            return await self._act(actions, path, request, visitor)
        page = self._page(path)
        _check_method(request, ("GET", "HEAD"))
        return self._html(await self._whole(page, query, visitor, request), visitor)

    def _page(self, path: str) -> Page:
        page = self._pages.get(path)
        if page is None:
            raise PathNotFound(f"There is no page at {path[:200]!r}.")
        return page

    # pages

    async def _whole(self, page: Page, query: Query, visitor: Visitor, request: Request) -> str:
        live_url = None
        if page.every_s is not None:
            live_url = f"{LIVE}{page.name}" + (f"?{request.url.query}" if request.url.query else "")
        filling = await page.look(self._desk, query)
        frame = self._frame(page.title, page.name, visitor, request)
        whole = frame | filling | {"live_url": live_url, "page": page.name}
        return unmarked(await asyncio.to_thread(self._renderer.render, f"{page.name}.html", whole))

    async def _stream(self, name: str, request: Request, visitor: Visitor) -> Response:
        page = next((page for page in PAGES if page.name == name and page.every_s is not None), None)
        if page is None:
            raise PathNotFound(f"There is no live page {name[:200]!r}.")
        _check_method(request, ("GET",))
        query = dict(request.query_params)
        render = partial(self._live_part, page, query)
        stream = self._live.stream(page, tuple(sorted(query.items())), render, visitor.may_stay)
        return _Stream(stream, media_type="text/event-stream")

    async def _live_part(self, page: Page, query: Query) -> str:
        try:
            filling = await page.look(self._desk, query)
            return await asyncio.to_thread(self._renderer.render, f"{page.name}_live.html", filling)
        except CortexError as error:
            return self._renderer.render("refusal.html", {"message": error.message, "code": error.code})

    # actions

    async def _act(self, actions: dict[str, Action], path: str, request: Request, visitor: Visitor) -> Response:
        _check_method(request, tuple(actions) + (("HEAD",) if "GET" in actions else ()))
        action = actions["GET" if request.method == "HEAD" else request.method]
        form: Query = {}
        if request.method not in ("GET", "HEAD"):
            check_origin(request.headers)
            form = await read_form(request)
            shown = form.get(TOKEN_FIELD) or request.headers.get(TOKEN_HEADER, "")
            if not is_same(visitor.token, shown):
                raise Forbidden("This form is too old, or was not made here: go back, reload the page and try again.")
            log.info("%s", _deed(action, form, visitor.who or (request.client.host if request.client else "")))
        is_part = _is_part(request)
        query = dict(request.query_params)
        call = Call(query=query, form=form, who=visitor.who, is_part=is_part, may_stay=visitor.may_stay)
        try:
            reply = await action.act(self._desk, call)
        except CortexError as error:
            if not is_part:
                raise
            filling = {"message": error.message, "code": error.code, "title": "Not done"}
            reply = Reply("refused.html", filling)  # a script puts it into its dialog, where it is no failure
        if reply.response is not None:
            return reply.response
        frame = self._frame(action.title, "", visitor, request) | {"part": reply.template}
        template = reply.template if is_part else "action.html"
        return self._html(self._renderer.render(template, {**frame, **reply.filling}), visitor, reply.status)

    # signing in

    async def _sign_in_or_out(self, path: str, request: Request) -> Response:
        _check_method(request, ("POST",) if path.endswith("out") else ("GET", "HEAD", "POST"))
        if request.method != "POST":
            return self._sign_in_page(request, request.query_params.get("to", ""), "", 200)
        check_origin(request.headers)
        form = await read_form(request)
        if path.endswith("out"):
            visitor = self._sign_in.visitor(request)
            if not is_same(visitor.token, form.get(TOKEN_FIELD, "")):
                raise Forbidden("This form is too old, or was not made here: reload the page and try again.")
            return await self._sign_in.leave(visitor)
        try:
            return await self._sign_in.enter(request, form)
        except (CallerError, StoreUnavailable) as error:
            response = self._sign_in_page(request, form.get("to", ""), error.message, status_of(error))
            seconds = retry_after_s(error)
            if seconds is not None:
                response.headers["retry-after"] = str(seconds)
            return response

    def _sign_in_page(self, request: Request, to: str, message: str, status: int) -> Response:
        filling = self._frame("Sign in", "", None, request) | {"to": to, "message": message}
        return HTMLResponse(self._renderer.render("sign_in.html", filling), status)

    def _to_sign_in(self, request: Request) -> Response:
        """Answer somebody who has not signed in: with the way to it, and the way back for what only shows something."""
        to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if request.headers.get("hx-request") or request.url.path.startswith(LIVE):
            response = HTMLResponse("", 401)
            response.headers["hx-redirect"] = self._sign_in.address("")
            return response
        address = self._sign_in.address(to if request.method in ("GET", "HEAD") else "")
        return Response(status_code=303, headers={"location": address})

    # answers

    def _frame(self, title: str, name: str, visitor: Visitor | None, request: Request) -> dict[str, object]:
        """Return what every page is filled with."""
        return {
            "title": title,
            "gateway": self._title,
            "menu": [(page.menu, ROOT + page.path, page.name == name) for page in PAGES if page.menu],
            "visitor": visitor,
            "token": visitor.token if visitor is not None else "",
            "static": lambda name: f"{STATIC}{name}?v={self._static.version(name)}",
        }

    def _html(self, text: str, visitor: Visitor, status: int = 200) -> Response:
        response = HTMLResponse(text, status)
        self._sign_in.remember(response, visitor)
        return response

    def _file(self, name: str, request: Request) -> Response:
        response = self._static.answer(name, request)
        if response is None:
            raise PathNotFound(f"There is no file {name[:100]!r}.")
        return response

    def _error(self, request: Request, error: CortexError, visitor: Visitor | None) -> Response:
        status = status_of(error)
        filling = self._frame(f"Error {status}", "", visitor, request)
        told = {"message": error.message, "code": error.code, "status": status}
        template = "refused.html" if _is_part(request) else "error.html"
        response = HTMLResponse(self._renderer.render(template, filling | told), status)
        seconds = retry_after_s(error)
        if seconds is not None:
            response.headers["retry-after"] = str(seconds)
        if isinstance(error, MethodNotAllowed):
            response.headers["allow"] = str(error.details.get("allowed", ""))
        return response


class _Stream(StreamingResponse):
    """A stream whose end is its reader's end, wherever it was."""

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)


def _deed(action: Action, form: Query, who: str) -> str:
    """Return what somebody wants done, in a line for the log."""
    named = " ".join(f"{name}={form[name][:200]!r}" for name in TOLD if form.get(name))
    return f"{action.path} by {who or 'somebody'}: {named}"


def _is_part(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def _check_method(request: Request, allowed: tuple[str, ...]) -> None:
    if request.method not in allowed:
        words = ", ".join(sorted(allowed))
        raise MethodNotAllowed(f"This page takes {words}, not {request.method[:20]}.", allowed=words)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises: CallerError for what is none, or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise CallerError("A form of this dashboard was expected.", param="Content-Type")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            raise BodyTooLarge(f"The form is larger than {MAX_FORM_BYTES} bytes.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise CallerError(f"The form cannot be read: {error}.") from None

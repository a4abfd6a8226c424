"""Signing in and out: who a request is from, and the cookies that say so. Knows keys only through ``ports.KeyBook``."""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from cortex.contract.error import StoreUnavailable, TooManyRequests, Unauthorized
from cortex.gateway.admin.dashboard.attempt import Attempts
from cortex.gateway.admin.dashboard.guard import is_encrypted, way_back
from cortex.gateway.admin.dashboard.page import ROOT
from cortex.gateway.admin.dashboard.session import MAX_AGE_S, Session, Sessions, is_operator, new_token
from cortex.gateway.key_secret import digest_of
from cortex.gateway.ports import KeyBook, KeyRecord
from cortex.kit.clock import Clock

COOKIE = "cortex_session"
TOKEN_COOKIE = "cortex_token"
MAX_TOKEN_CHARS = 64
MAX_SECRET_CHARS = 512
_UNKNOWN = (
    "This is no key of an operator that holds. Keys are made on the gateway's host: cortex keys create NAME --admin"
)
_SILENT = (
    "Nobody can sign in while the gateway's store does not answer; who has signed in goes on. Try again in a moment."
)


class Visitor(NamedTuple):
    """Who a request is from. ``session`` None: nobody has to sign in; ``is_new``: the browser has no token yet."""

    token: str
    may_stay: Callable[[], bool]
    session: Session | None = None
    is_new: bool = False
    is_encrypted: bool = False

    @property
    def who(self) -> str:
        """The name of the key, empty without one."""
        return self.session.key.name if self.session is not None else ""


class SignIn:
    """``book`` and ``sessions`` None: there are no keys, and never will be."""

    def __init__(self, book: KeyBook | None, sessions: Sessions | None, clock: Clock) -> None:
        self._book = book
        self._clock = clock
        self._attempts = Attempts()
        self._sessions = sessions

    @property
    def is_needed(self) -> bool:
        """Whether one has to sign in. Raises: StoreUnavailable."""
        return self._book is not None and self._book.is_needed

    def visitor(self, request: Request) -> Visitor:
        """Return who a request is from. Raises: Unauthorized, StoreUnavailable."""
        encrypted = is_encrypted(request.headers, request.url.scheme)
        if not self.is_needed:
            known = request.cookies.get(TOKEN_COOKIE, "")
            is_known = 16 <= len(known) <= MAX_TOKEN_CHARS and known.isascii() and known.isprintable()
            token = known if is_known else new_token()
            return Visitor(token, lambda: not self.is_needed, is_new=not is_known, is_encrypted=encrypted)
        note = request.cookies.get(COOKIE, "")
        session = self._find(note)
        if session is None:
            raise Unauthorized("Sign in first.")
        return Visitor(session.token, lambda: self._find(note) is not None, session, is_encrypted=encrypted)

    def _find(self, note: str) -> Session | None:
        return self._sessions.find(note) if self._sessions is not None else None

    def address(self, to: str) -> str:
        """Return where one signs in, to go on at ``to``."""
        back = way_back(to)
        return f"{ROOT}sign-in" + (f"?to={quote(back, safe='/')}" if back != ROOT else "")

    async def enter(self, request: Request, form: Mapping[str, str]) -> Response:
        """Take the key that a form shows; go on where it wanted to.

        Raises: TooManyRequests, Unauthorized, StoreUnavailable.
        """
        to = way_back(form.get("to", ""))
        if self._book is None or self._sessions is None or not self.is_needed:
            return _go(to)
        address = request.client.host if request.client is not None else ""
        wait_s = self._attempts.wait_s(address, self._clock.now_s())
        if wait_s:
            words = f"Too many keys from your address that do not hold: try again in {wait_s:.0f} s."
            raise TooManyRequests(words, retry_in_s=wait_s)
        secret = form.get("key", "")[:MAX_SECRET_CHARS].strip().encode("utf-8", "replace")
        key = self._book.find(secret)
        record = None if key is None or not is_operator(key, self._clock.epoch_s()) else self._book.record_of(key.id)
        if record is None or record.digest != digest_of(secret):
            self._attempts.failed(address, self._clock.now_s())
            raise Unauthorized(_UNKNOWN)
        self._attempts.succeeded(address)
        note = await self._begun(self._sessions, record)
        response = _go(to)
        _set(response, COOKIE, note, is_encrypted(request.headers, request.url.scheme))
        return response

    async def _begun(self, sessions: Sessions, record: KeyRecord) -> str:
        try:
            note = await sessions.begin(record)
        except StoreUnavailable as exc:
            raise StoreUnavailable(_SILENT) from exc
        if note is None:
            raise Unauthorized(_UNKNOWN)
        return note

    async def leave(self, visitor: Visitor) -> Response:
        """End a session."""
        if visitor.session is not None and self._sessions is not None:
            await self._sessions.end(visitor.session)
        response = _go(self.address(""))
        response.delete_cookie(COOKIE, path=ROOT[:-1], httponly=True, samesite="strict", secure=visitor.is_encrypted)
        return response

    def remember(self, response: Response, visitor: Visitor) -> None:
        """Give a browser its token, where it has none."""
        if visitor.is_new:
            _set(response, TOKEN_COOKIE, visitor.token, visitor.is_encrypted)


def _go(to: str) -> Response:
    return Response(status_code=303, headers={"location": to})


def _set(response: Response, name: str, value: str, is_secure: bool) -> None:
    response.set_cookie(
        name, value, max_age=int(MAX_AGE_S), path=ROOT[:-1], secure=is_secure, httponly=True, samesite="strict"
    )

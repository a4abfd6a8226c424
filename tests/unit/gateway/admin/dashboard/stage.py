"""A dashboard without a gateway around it: a browser that keeps its cookies asks, pages answer."""

import asyncio
import re
from typing import Any
from urllib.parse import urlencode

from tests.unit.gateway.admin.dashboard.session_shelf import SessionShelf, sessions_of
from tests.unit.gateway.admin.scene import Answer, FakeFleet, ask

from cortex.gateway.admin.dashboard.app import Dashboard
from cortex.gateway.admin.dashboard.live import Live
from cortex.gateway.admin.dashboard.page import Call, Desk, Query
from cortex.gateway.admin.dashboard.sign_in import SignIn
from cortex.gateway.ports import KeyBook
from cortex.kit.task import TaskOwner

FORM = "application/x-www-form-urlencoded"


def desk_of(fleet: FakeFleet) -> Desk:
    return Desk(fleet, fleet.clock, fleet.seen.insight, fleet.keys, fleet.usage)


class Browser:
    """One browser before one dashboard."""

    def __init__(
        self, book: KeyBook | None = None, fleet: FakeFleet | None = None, beside: "Browser | None" = None
    ) -> None:
        """``beside``: another browser before the same dashboard."""
        self.fleet = fleet or FakeFleet()
        self.shelf = SessionShelf(self.fleet.clock)
        sessions = None if book is None else sessions_of(book, self.fleet.clock, self.shelf)
        self.sign_in = SignIn(book, sessions, self.fleet.clock)
        self.app = Dashboard(desk_of(self.fleet), self.sign_in, Live(TaskOwner()), "test")
        if beside is not None:
            self.app = beside.app
        self.cookies: dict[str, str] = {}

    def get(self, path: str, query: str = "", **headers: str) -> Answer:
        return self.ask("GET", path, b"", query, **headers)

    def post(self, path: str, form: dict[str, str], **headers: str) -> Answer:
        """Send a form, with the token that this browser has been given."""
        return self.ask("POST", path, urlencode(form).encode(), **{"content_type": FORM, **headers})

    def act(self, path: str, form: dict[str, str], **headers: str) -> Answer:
        """Send a form as our own pages do: with their token."""
        return self.post(path, {"token": self.token(), **form}, **headers)

    def token(self) -> str:
        found = re.search(r'data-token="([^"]+)"', self.get("").body.decode())
        assert found, "the page has no token"
        return found[1]

    def ask(self, method: str, path: str, body: bytes = b"", query: str = "", **headers: str) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given: dict[str, Any] = {"cookie": cookie, **headers}
        answer = asyncio.run(ask(self.app, method, f"/dashboard/{path}", body, query, **given))
        for name, value in re.findall(r"(cortex_\w+)=([^;]*);", answer.headers.get("set-cookie", "")):
            self.cookies[name] = value.strip('"')
        return answer


def call_of(query: Query | None = None, form: Query | None = None) -> Call:
    """Return what an action is given that a script of ours has asked for."""
    return Call(query=query or {}, form=form or {}, who="", is_part=True, may_stay=lambda: True)

"""Calls an ASGI application as a server would, from whatever address and in whatever pieces a test likes."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

JSON = {"content-type": "application/json"}


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Return status and code of an error answer, whose shape is checked as well."""
        error = self.json["error"]
        assert set(self.json) == {"error"}
        assert set(error) == {"code", "message", "details"}
        assert error["message"]
        return self.status, error["code"]


async def call(
    app: Any,
    method: str,
    target: str,
    body: object = None,
    *,
    headers: dict[str, str] | None = None,
    pieces: Iterable[bytes] | None = None,
    client: str = "127.0.0.1",
    server: tuple[str, int] = ("127.0.0.1", 9090),
) -> Reply:
    """Send one request; a ``body`` that is not bytes goes as JSON, ``pieces`` are sent one by one."""
    path, _, query = target.partition("?")
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    left = iter(pieces or [content])
    coming = next(left, None)
    given = {**(JSON if method == "POST" else {}), **(headers or {})}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": (client, 40000),
        "server": server,
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal coming
        if coming is None:
            await asyncio.Event().wait()
        piece, coming = coming, next(left, None)
        return {"type": "http.request", "body": piece, "more_body": coming is not None}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *parts = sent
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], answered, b"".join(part.get("body", b"") for part in parts))

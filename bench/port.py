"""Ports of this machine: a free one, and one HTTP request to whoever listens there."""

import http.client
import json
import random
import socket
from typing import Any


def free_port() -> int:
    """Return a port that is free, from below those that outgoing connections take by themselves."""
    for port in random.sample(range(15_000, 32_000), 1000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("bench: no free port between 15000 and 32000")


def status_of(port: int, path: str, *, timeout_s: float = 2.0, body: Any = None, key: str = "") -> int:
    """Return the status of one request, 0 when there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"} if body is not None else {}
    try:
        connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def chat_body(model: str) -> dict[str, Any]:
    """Return the body of a small unstreamed chat request, with the orders that the upstream looks for."""
    return {"model": model, "messages": [{"role": "user", "content": "@bench n=0 i=0 r=0 k=0; hello"}]}

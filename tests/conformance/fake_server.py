"""What the stand-ins for vLLM and SGLang share: a small HTTP server of OpenAI's kind, counting, perhaps with a key.

They are programs of their own, started by their real command lines; nothing of the project is imported here.
"""

import json
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NoReturn


class Server(ThreadingHTTPServer):
    """Listens at once; ``open_paths`` need no key, ``counts`` are the metrics by name."""

    daemon_threads = True

    def __init__(
        self, host: str, port: int, name: str, *, key: str | None, guarded: str, counts: dict[str, int]
    ) -> None:
        self.name = name
        self.key = key
        self.guarded = guarded
        self.counts = counts
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def page(self) -> str:
        """Return the metrics as Prometheus reads them."""
        return "".join(
            f'# TYPE {name} gauge\n{name}{{model_name="{self.name}"}} {n}.0\n' for name, n in self.counts.items()
        )


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing of single requests, as the real ones are told to."""

    def answer(self, status: int, body: object) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def is_let_in(self) -> bool:
        server = self.server
        is_open = not server.key or not self.path.startswith(server.guarded) or self.path in ("/health", "/metrics")
        return is_open or self.headers.get("authorization") == f"Bearer {server.key}"

    def do_GET(self) -> None:
        if not self.is_let_in():
            self.answer(401, {"error": "Unauthorized"})
        elif self.path == "/health":
            self.answer(200, "")
        elif self.path == "/metrics":
            self.answer(200, self.server.page())
        elif self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": self.server.name, "object": "model"}]})
        else:
            self.answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.is_let_in():
            self.answer(401, {"error": "Unauthorized"})
        elif self.path != "/v1/chat/completions" or body.get("model") != self.server.name:
            self.answer(404, {"error": {"message": f"The model `{body.get('model')}` does not exist.", "code": 404}})
        else:
            for name in self.server.counts:
                if name.endswith("_total"):
                    self.server.counts[name] += 3
            self.answer(200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": "1 2 3"}}]})


def serve(server: Server) -> NoReturn:
    """Serve until SIGTERM or SIGINT, and end with code 0."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.wait()
    sys.exit(0)

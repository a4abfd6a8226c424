"""A daemon for the commands to talk to: real HTTP on loopback, answers as scripted, requests remembered."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

Answer = tuple[int, object]


class Desk:
    """Answers each ``"METHOD /path"`` with its scripted answers in turn, the last one for ever."""

    def __init__(self, answers: dict[str, list[Answer]]) -> None:
        self.answers = answers
        self.url = ""
        self.seen: list[tuple[str, object]] = []
        self.credentials: list[str | None] = []

    def reply(self, call: str, body: bytes) -> tuple[int, bytes]:
        self.seen.append((call, msgspec.json.decode(body) if body else None))
        script = self.answers.get(call, [(404, {"error": {"message": f"nothing at {call}"}})])
        status, answer = script.pop(0) if len(script) > 1 else script[0]
        return status, answer if isinstance(answer, bytes) else msgspec.json.encode(answer)


@contextmanager
def desk(**answers: object) -> Iterator[Desk]:
    """Run a desk; keys are ``GET_path_parts`` for ``GET /path/parts``, values one answer or a list of them."""
    script = {}
    for key, value in answers.items():
        method, *parts = key.split("_")
        steps = value if isinstance(value, list) and value and isinstance(value[0], tuple) else [(200, value)]
        script[f"{method} /{'/'.join(parts)}"] = steps
    here = Desk(script)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            here.credentials.append(self.headers.get("authorization"))
            status, answer = here.reply(f"{self.command} {self.path}", body)
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

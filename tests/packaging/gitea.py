"""As much of Gitea's API as releases and proposals use, on a port of this machine."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def serving() -> "Iterator[Gitea]":
    """Serve until the block ends."""
    with Gitea() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Gitea(HTTPServer):
    """As much of Gitea's API as is used, with one repository, which keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), GiteaAnswer)
        self.asked: list[tuple[str, str, Any]] = []
        self.releases: dict[str, dict[str, Any]] = {}
        self.pulls: list[dict[str, Any]] = []

    def env(self, token: str = "secret-word") -> dict[str, str]:
        """Return what Gitea's runner sets, and the token that is taken here."""
        return {
            "GITHUB_API_URL": f"http://127.0.0.1:{self.server_port}/api/v1",
            "GITHUB_REPOSITORY": "me/cortex",
            "FORGE_TOKEN": token,
            "no_proxy": "*",
        }

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        match method, path.removeprefix("/api/v1/repos/me/cortex").split("?")[0].split("/")[1:]:
            case "GET", []:
                return 200, {"default_branch": "main"}
            case "GET", ["releases", "tags", tag]:
                return (200, self.releases[tag]) if tag in self.releases else (404, {"message": "not found"})
            case "POST", ["releases"]:
                self.releases[body["tag_name"]] = made = {"id": 7, "assets": [], "html_url": "page", **body}
                return 201, made
            case "PATCH", ["releases", "7"]:
                next(iter(self.releases.values())).update(body)
                return 200, next(iter(self.releases.values()))
            case "POST", ["releases", "7", "assets"]:
                next(iter(self.releases.values()))["assets"].append({"name": path.partition("?name=")[2]})
                return 201, {}
            case "GET", ["pulls"]:
                return 200, self.pulls
            case "POST", ["pulls"]:
                self.pulls.append({"head": {"ref": body["head"]}, "html_url": "pull", "base": body["base"]})
                return 201, self.pulls[-1]
        return 405, {"message": "unknown"}


class GiteaAnswer(BaseHTTPRequestHandler):
    server: Gitea

    def answer(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_json = self.headers.get("Content-Type") == "application/json"
        body = json.loads(data) if is_json else data
        self.server.asked.append((self.command, self.path, body))
        is_known = self.headers["Authorization"] == "token secret-word"
        status, said = self.server.answer(self.command, self.path, body) if is_known else (401, {"message": "who?"})
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, format: str, *args: object) -> None:
        pass

"""What a release and a proposal say to the forge, shown to as much of Gitea's API as they use."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.arch.source import ROOT

CI = ROOT / "packaging" / "ci"


class Gitea(HTTPServer):
    """As much of Gitea's API as is used, with one repository, which keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), GiteaAnswer)
        self.asked: list[tuple[str, str, Any]] = []
        self.releases: dict[str, dict[str, Any]] = {}
        self.pulls: list[dict[str, Any]] = []

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


@pytest.fixture
def gitea() -> Iterator[Gitea]:
    with Gitea() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run_forge(gitea: Gitea, *words: str, token: str = "secret-word") -> tuple[int, str]:
    env = os.environ | {
        "GITHUB_API_URL": f"http://127.0.0.1:{gitea.server_port}/api/v1",
        "GITHUB_REPOSITORY": "me/cortex",
        "FORGE_TOKEN": token,
        "no_proxy": "*",
    }
    command = [sys.executable, str(CI / "forge.py"), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=100)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_a_release_is_made_with_notes_and_packages_and_made_again_is_brought_up_to_date(
    gitea: Gitea, tmp_path: Path
) -> None:
    notes, package = tmp_path / "notes.md", tmp_path / "cortex-0.2.0-1.src.rpm"
    package.write_bytes(b"\xed\xab\xee\xdb")
    for text in ("- The first words.\n", "- Better words.\n"):
        notes.write_text(text)
        assert run_forge(gitea, "release", "v0.2.0", str(notes), str(package)) == (0, "page")
        release = gitea.releases["v0.2.0"]
        assert (release["name"], release["body"], release["draft"]) == ("0.2.0", text, False)
        assert release["assets"] == [{"name": package.name}]
    assert [body for method, path, body in gitea.asked if "assets" in path] == [b"\xed\xab\xee\xdb"]


def test_a_branch_is_proposed_once(gitea: Gitea) -> None:
    for _ in range(2):
        assert run_forge(gitea, "propose", "mistralrs-0.9.6", "packaging: mistral.rs 0.9.6") == (0, "pull")
    assert [(one["head"]["ref"], one["base"]) for one in gitea.pulls] == [("mistralrs-0.9.6", "main")]


def test_a_forge_that_refuses_is_quoted(gitea: Gitea) -> None:
    code, said = run_forge(gitea, "propose", "a", "b", token="wrong")
    assert code == 1
    assert "401" in said
    assert "who?" in said

"""The files that pages need: nothing else is given out, and what was kept still holds or not."""

import re
from hashlib import sha256
from pathlib import Path

import pytest
from starlette.requests import Request

from cortex.gateway.admin.dashboard.static_file import FOLDER, StaticFiles


def asked(query: str = "", **headers: str) -> Request:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": lines})


@pytest.fixture(scope="module")
def files() -> StaticFiles:
    return StaticFiles()


def test_a_file_with_its_hash_may_be_kept_for_ever(files: StaticFiles) -> None:
    version = files.version("dashboard.css")
    response = files.answer("dashboard.css", asked(f"v={version}"))
    assert response is not None
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("query", ["", "v=0123456789abcdef"])
def test_without_it_the_browser_asks_again(files: StaticFiles, query: str) -> None:
    response = files.answer("dashboard.css", asked(query))
    assert response is not None
    assert response.headers["cache-control"] == "no-cache"
    again = files.answer("dashboard.css", asked(if_none_match=f'"x", {response.headers["etag"]}'))
    assert again is not None
    assert again.status_code == 304
    assert again.body == b""


@pytest.mark.parametrize("name", ["", "..", "../app.py", "VENDORED.md", "nothing.js", "/etc/passwd", "dashboard.css/"])
def test_nothing_else_is_given_out(files: StaticFiles, name: str) -> None:
    assert files.answer(name, asked()) is None


def test_the_files_of_others_are_those_that_are_written_down_with_their_licences() -> None:
    told = re.findall(
        r"^\| `([^`]+)` \|.*\(`([^`]+)`\) \| `([0-9a-f]{64})` \|$", (FOLDER / "VENDORED.md").read_text(), re.M
    )
    assert {name for name, _, _ in told} >= {file.name for file in FOLDER.glob("*.min.*")}
    for name, licence, digest in told:
        assert sha256((FOLDER / name).read_bytes()).hexdigest() == digest
        assert (FOLDER / licence).is_file()


def test_no_file_names_another_host() -> None:
    """Of ours: what others have written names their own pages in comments."""
    ours = [file for file in FOLDER.iterdir() if file.suffix in (".css", ".js") and ".min." not in file.name]
    assert ours
    for file in (*ours, *(Path(FOLDER).parent / "template").iterdir()):
        assert not re.search(
            r"(https?:)?//[a-z0-9-]+\.[a-z]", file.read_text().replace("http://www.w3.org/2000/svg", "")
        )

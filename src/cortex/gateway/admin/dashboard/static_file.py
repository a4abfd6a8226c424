"""The files that pages need: scripts, styles, pictures. Read once, when first asked for, and sent with their hash.

An address with the hash of the file (``?v=…``) may be kept for ever; without it the browser asks each time whether
what it has still holds.
"""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
VERSION_CHARS = 16


class StaticFile(NamedTuple):
    """One file with how it begins to be named."""

    content: bytes
    media_type: str
    version: str


class StaticFiles:
    """All files of ``static/`` that browsers may have, and no others: names are looked up, never put into a path."""

    def __init__(self) -> None:
        self._files = {file.name: _read(file) for file in FOLDER.iterdir() if file.suffix in TYPES}

    def version(self, name: str) -> str:
        """Return the hash of a file. Raises: KeyError for one that is not there."""
        return self._files[name].version

    def answer(self, name: str, request: Request) -> Response | None:
        """Return a file; None when there is none of that name."""
        file = self._files.get(name)
        if file is None:
            return None
        is_versioned = request.query_params.get("v") == file.version
        headers = {
            "etag": f'"{file.version}"',
            "cache-control": "public, max-age=31536000, immutable" if is_versioned else "no-cache",
        }
        if headers["etag"] in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)


def _read(file: Path) -> StaticFile:
    content = file.read_bytes()
    return StaticFile(content, TYPES[file.suffix], sha256(content).hexdigest()[:VERSION_CHARS])

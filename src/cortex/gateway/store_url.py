"""What may stand in ``[store] url``, and how it is shown: never with a password.

Knows no database library, so that a configuration can be checked where none is installed.
"""

from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

POSTGRESQL_OPTIONS = ("host", "port", "sslmode")
"""What may stand behind the question mark."""

EXPECTED = "expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


class StoreUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A checked URL. ``path``: the file of a SQLite store; ``shown``: fit for logs."""

    backend: Literal["sqlite", "postgresql"]
    text: str
    shown: str
    path: str = ""


def parse_store_url(text: str) -> StoreUrl:
    """Return what a URL says; raise ValueError with what was expected, without repeating what may be a password."""
    scheme, found, rest = text.partition("://")
    if found and scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return StoreUrl(backend="sqlite", text=text, shown=text, path=rest[1:])
    if found and scheme in ("postgresql", "postgres"):
        return _postgresql(f"postgresql://{rest}")
    raise ValueError(EXPECTED)


def anchored(text: str, base: Path) -> str:
    """Return a URL whose file, if it has one, starts at ``base`` when its path is relative."""
    url = parse_store_url(text)
    return f"sqlite:///{base / url.path}" if url.backend == "sqlite" else text


def _postgresql(text: str) -> StoreUrl:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(EXPECTED) from None
    options = dict(parse_qsl(parts.query))
    strange = sorted(set(options) - set(POSTGRESQL_OPTIONS))
    if strange:
        raise ValueError(f"expected none but {', '.join(POSTGRESQL_OPTIONS)} behind the '?', got {', '.join(strange)}")
    host = parts.hostname or options.get("host")
    if not host or not parts.path.strip("/"):
        raise ValueError(EXPECTED)
    place = host if port is None else f"{host}:{port}"
    return StoreUrl(backend="postgresql", text=text, shown=f"postgresql://{place}{parts.path}")

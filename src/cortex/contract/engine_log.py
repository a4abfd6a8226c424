"""The words about the logs of engines, as a gateway passes them on. Data only."""

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_LINES = 2000
"""A neuron gives no more."""


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``lines``: so many of the last ones. ``follow``: go on with further ones, as server-sent events."""

    lines: Annotated[int, Meta(ge=1, le=MAX_LINES)] = 200
    follow: bool = False


class LogTail(msgspec.Struct, frozen=True, kw_only=True):
    """The last lines of an engine's log."""

    model: str
    node: str
    lines: tuple[str, ...]


class LogEnd(msgspec.Struct, frozen=True, kw_only=True):
    """No more lines come. ``code``: empty for an engine that has ended, else that of the error that ended it."""

    code: str
    reason: str


class LogLines(msgspec.Struct, frozen=True, kw_only=True):
    """Lines that have come."""

    lines: tuple[str, ...]

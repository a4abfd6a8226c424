"""The words of the dashboard: a page, an action, what they are given, what they answer. Data, no behaviour."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from starlette.responses import Response

from cortex.gateway.admin.insight import Insight
from cortex.gateway.ports import FleetAdmin, Keys, Usage
from cortex.kit.clock import Clock

ROOT = "/dashboard/"

Query = Mapping[str, str]
"""The parameters of a URL, or the fields of a form; of one that is given twice the last."""

Filling = dict[str, Any]
"""What a template is filled with."""


class Desk(NamedTuple):
    """What pages and actions may ask. ``keys`` and ``usage`` are None without a store."""

    fleet: FleetAdmin
    clock: Clock
    insight: Insight
    keys: Keys | None = None
    usage: Usage | None = None


class Page(NamedTuple):
    """One page. ``path`` is under ``ROOT``; ``every_s``: how often what is live is looked at, None when nothing is.

    ``menu``: what the navigation calls it, empty for a page that is reached from others.
    """

    name: str
    path: str
    title: str
    look: Callable[[Desk, Query], Awaitable[Filling]]
    menu: str = ""
    every_s: float | None = None


class Call(NamedTuple):
    """One request that an action answers. ``form`` is empty for a GET; ``who`` names the key, empty where none is
    asked for. ``is_part``: a script asks, for a part to put into the page it has. ``may_stay``: whether an answer that
    goes on may still be seen."""

    query: Query
    form: Query
    who: str
    is_part: bool
    may_stay: Callable[[], bool]


class Reply(NamedTuple):
    """What an action answers: a template with its filling, or a response of its own making."""

    template: str = ""
    filling: Mapping[str, Any] = MappingProxyType({})
    status: int = 200
    response: Response | None = None


class Action(NamedTuple):
    """Something that a page offers to do, or a part of it; ``path`` is under ``ROOT``."""

    method: str
    path: str
    act: Callable[[Desk, Call], Awaitable[Reply]]
    title: str = ""

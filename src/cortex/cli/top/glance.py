"""How somebody looks at the board: which view, what is chosen, filtered, sorted; and what a key makes of that. Pure.

A key that asks for something to be done yields a wish, and only after the question was answered with ``y``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

VIEWS = ("overview", "nodes", "models", "requests", "decisions")
SORTS = ("default", "name", "busy", "memory")
PAGE = 10
"""Rows that page up and down go by."""


class Key(NamedTuple):
    """What a row is about: ``kind`` is node, instance, running, finished or decision; ``part`` its section."""

    kind: str
    name: str
    node: str = ""


class Wish(msgspec.Struct, frozen=True):
    """Something to be done: ``load``, ``unload``, ``drain`` or ``undrain``."""

    verb: str
    model: str
    node: str

    def words(self) -> str:
        """Return it as a question."""
        if self.verb in ("drain", "undrain"):
            return f"{self.verb} {self.node}?"
        return f"{self.verb} {self.model}{' from ' + self.node if self.verb == 'unload' else ''}?"


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """``typing``: ``filter`` or ``load`` while a text is typed. ``chosen``: the row that the arrows have come to."""

    view: str = "overview"
    chosen: Key | None = None
    filter: str = ""
    sort: str = "default"
    is_paused: bool = False
    typing: str = ""
    typed: str = ""
    detail: Key | None = None
    scroll: int = 0
    has_help: bool = False
    asked: Wish | None = None
    said: str = ""
    """What became of the last wish."""
    is_over: bool = False


def pressed(glance: Glance, key: str, rows: Sequence[Key], drained: frozenset[str]) -> tuple[Glance, Wish | None]:
    """Return what a key makes of it, and what is to be done now. ``rows``: those on show; ``drained``: such nodes."""
    change = msgspec.structs.replace
    if key == "ctrl-c":
        return change(glance, is_over=True), None
    if glance.asked is not None:
        wish = glance.asked if key in ("y", "Y") else None
        return change(glance, asked=None, said="" if wish else "nothing done"), wish
    glance = change(glance, said="")
    if glance.typing:
        return _typed(glance, key), None
    if glance.has_help:
        return change(glance, has_help=False), None
    if glance.detail is not None:
        return _in_detail(glance, key), None
    if key in ("l", "u", "d"):
        return _asked(glance, key, rows, drained), None
    return _looking(glance, key, rows), None


def _looking(glance: Glance, key: str, rows: Sequence[Key]) -> Glance:
    change = msgspec.structs.replace
    if key == "q":
        return change(glance, is_over=True)
    if key == "?" or key == "h":
        return change(glance, has_help=True)
    if key == "/":
        return change(glance, typing="filter", typed=glance.filter)
    if key == "escape":
        return change(glance, filter="", chosen=None)
    if key == "s":
        return change(glance, sort=SORTS[(SORTS.index(glance.sort) + 1) % len(SORTS)])
    if key == "p":
        return change(glance, is_paused=not glance.is_paused)
    if key.isdigit() and 1 <= int(key) <= len(VIEWS):
        return change(glance, view=VIEWS[int(key) - 1], chosen=None)
    if key in ("tab", "right", "back-tab", "left"):
        step = 1 if key in ("tab", "right") else -1
        return change(glance, view=VIEWS[(VIEWS.index(glance.view) + step) % len(VIEWS)], chosen=None)
    if key == "enter" and glance.chosen is not None:
        return change(glance, detail=glance.chosen, scroll=0)
    return change(glance, chosen=_moved(glance.chosen, key, rows))


def _moved(chosen: Key | None, key: str, rows: Sequence[Key]) -> Key | None:
    """Return the row that an arrow leads to. A row that has gone leaves the choice where it begins."""
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page-up": -PAGE, "page-down": PAGE}
    ends = {"home": 0, "end": len(rows) - 1}
    if not rows or key not in steps | ends:
        return chosen
    if key in ends:
        return rows[ends[key]]
    if chosen not in rows:
        return rows[0] if steps[key] > 0 else rows[-1]
    return rows[min(len(rows) - 1, max(0, rows.index(chosen) + steps[key]))]


def _in_detail(glance: Glance, key: str) -> Glance:
    change = msgspec.structs.replace
    if key in ("q", "escape", "enter", "left"):
        return change(glance, detail=None, scroll=0)
    step = {"down": 1, "j": 1, "up": -1, "k": -1, "page-down": PAGE, "page-up": -PAGE}.get(key, 0)
    return change(glance, scroll=max(0, glance.scroll + step))


def _typed(glance: Glance, key: str) -> Glance:
    """Take a key of a text in; the filter holds while it is typed."""
    change = msgspec.structs.replace
    typed = glance.typed
    if key == "escape":
        return change(glance, typing="", typed="", filter="" if glance.typing == "filter" else glance.filter)
    if key == "enter":
        asked = Wish("load", typed, "") if glance.typing == "load" and typed else None
        return change(glance, typing="", typed="", asked=asked)
    if key == "backspace":
        typed = typed[:-1]
    elif key == "ctrl-u":
        typed = ""
    elif len(key) == 1 and key.isprintable():
        typed += key
    return change(glance, typed=typed, filter=typed if glance.typing == "filter" else glance.filter)


def _asked(glance: Glance, key: str, rows: Sequence[Key], drained: frozenset[str]) -> Glance:
    """Ask before something is done, or say what it takes."""
    change = msgspec.structs.replace
    kind, name, node = glance.chosen if glance.chosen in rows and glance.chosen else Key("", "")
    if key == "l":
        if kind == "instance":
            return change(glance, asked=Wish("load", name, node))
        return change(glance, typing="load", typed="")
    if key == "u":
        if kind != "instance":
            return change(glance, said="choose a model with the arrows first")
        return change(glance, asked=Wish("unload", name, node))
    if kind != "node":
        return change(glance, said="choose a node with the arrows first")
    return change(glance, asked=Wish("undrain" if name in drained else "drain", "", name))

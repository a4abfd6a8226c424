"""Which model a name means: the exact id first, then an alias, then a model that was found on a node.

Decides nothing about where the model is or goes.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from heapq import nsmallest

from cortex.contract.profile import Profile

MAX_LISTED = 8
"""How many ids an error message names; more would bury the sentence."""

MAX_COMPARED = 64
"""Comparing takes up to 0.05 ms a name, in which every stream stands still (measured 2026-11); of more names those are
compared that are nearly as long as the one asked for."""


def name_table(profiles: Iterable[Profile], found: Iterable[str]) -> dict[str, str]:
    """Return the canonical id for every known name: catalogue ids over aliases over ids found on nodes."""
    profiles = tuple(profiles)
    table = {model: model for model in found}
    table.update((alias, profile.id) for profile in reversed(profiles) for alias in profile.aliases)
    table.update((profile.id, profile.id) for profile in profiles)
    return table


def describe_unknown(name: str, table: Mapping[str, str]) -> str:
    """Return a sentence for a name that nothing answers to, with the nearest names that something does."""
    if not table:
        return f"No model named '{name}' is known: the catalogue is empty and no node reports any model."
    by_folded = {known.casefold(): known for known in table}
    wanted = name.casefold()
    likely = nsmallest(MAX_COMPARED, by_folded, key=lambda known: abs(len(known) - len(wanted)))
    near = [by_folded[match] for match in get_close_matches(wanted, likely, n=3, cutoff=0.5)]
    if near:
        quoted = " or ".join(f"'{match}'" for match in near)
        return f"No model named '{name}' is known; did you mean {quoted}? GET /v1/models lists the ids."
    listed = sorted(set(table.values()))
    more = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
    return f"No model named '{name}' is known. GET /v1/models lists: {', '.join(listed[:MAX_LISTED])}{more}."


def describe_unknown_node(name: str, known: Iterable[str]) -> str:
    """Return a sentence for a name that is no node's, with the nearest that is one, or all of a few."""
    names = sorted(known)
    near = get_close_matches(name, names[:MAX_COMPARED], n=1, cutoff=0.5)
    shown = name[:100]
    if near:
        return f"No node '{shown}' is configured; did you mean '{near[0]}'?"
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"No node '{shown}' is configured; there are: {', '.join(names[:MAX_LISTED]) or 'none'}{more}."

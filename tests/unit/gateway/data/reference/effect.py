"""What a member of a request really does, seen by what an engine gets and what the client is told."""

from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

import msgspec
import pytest

from cortex.contract.error import CallerError
from cortex.gateway.data.reference.member import Member, Members

Said = tuple[Any, Any]
"""What an engine gets, and what the client is answered."""

ASKS_FOR_NOTHING = {"model"}
"""What every request here has."""


def cases(**tables: Members) -> list[Any]:
    """Return (name of the table, name of the member, member) for every member of which an example is there."""
    return [
        pytest.param(table, name, member, id=f"{table}-{name}")
        for table, members in tables.items()
        for name, member in members.items()
        if name not in ASKS_FOR_NOTHING
    ]


def check_effect(member: Member, name: str, base: dict[str, Any], say: Callable[[bytes], Said]) -> None:
    """Assert that a member does to a request what the table says."""
    assert member.example is not None, "an example, with which it shows"
    with_it = msgspec.json.encode({**base, name: member.example})
    if member.effect == "refused":
        with pytest.raises(CallerError, match=name):
            say(with_it)
        return
    before, after = say(msgspec.json.encode(base)), say(with_it)
    is_sent_otherwise, is_answered_otherwise = (one != other for one, other in zip(before, after, strict=True))
    if member.effect == "translated":
        assert is_sent_otherwise
    elif member.effect == "told":
        assert (is_sent_otherwise, is_answered_otherwise) == (False, True)
    else:
        assert member.effect == "ignored"
        assert (is_sent_otherwise, is_answered_otherwise) == (False, False)


def as_read(package: str, version: str) -> None:
    """Skip a test that holds a table to an SDK which is newer than the one that the table was read of.

    What it has come to know since then is news, and no defect.
    """
    installed = metadata.version(package)
    if [int(part) for part in installed.split(".")[:3]] > [int(part) for part in version.split(".")]:
        pytest.skip(f"the table was read of {package} {version}, and {installed} is installed: look what is new in it")


def unnamed(members: Members, known: Iterable[str]) -> set[str]:
    """Return which of the names that somebody else knows have no line in a table."""
    return set(known) - set(members)


def read_but_ignored(members: Members, read: Iterable[str]) -> set[str]:
    """Return which members of a struct are said to be ignored."""
    return {name for name in read if members[name].effect == "ignored"}

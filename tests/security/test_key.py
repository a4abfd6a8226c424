"""A key cannot be found out by trying: what is compared are hashes, and nothing tells a key that nearly fits."""

import ast
import hmac
from pathlib import Path
from typing import Any

import pytest
from tests.arch.source import SRC

from cortex.contract.error import CortexError
from cortex.contract.key import Key
from cortex.gateway.data import key_book
from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.key_secret import digest_of, new_secret
from cortex.gateway.ports import KeyRecord
from cortex.neuron import caller
from cortex.neuron.caller import Door

SECRETS = {"secret", "password", "credential", "given", "_token"}


def test_a_key_is_looked_up_by_its_hash_and_by_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    class Table(dict[bytes, KeyRecord]):
        def get(self, key: bytes, default: Any = None) -> Any:
            asked.append(key)
            return super().get(key, default)

    secret = new_secret().encode()
    book = MemoryKeyBook()
    book.take([KeyRecord(digest_of(secret), Key(id="key_1", name="a", shown="ctx-0123"))])
    monkeypatch.setattr(book, "_by_secret", Table(book._by_secret))
    for shown in (secret, secret[:-1], secret + b"x", b"", b"\xff"):
        book.find(shown)
    assert asked == [digest_of(shown) for shown in (secret, secret[:-1], secret + b"x", b"", b"\xff")]
    assert secret not in repr(vars(book)).encode()
    assert key_book.digest_of is digest_of


def test_a_nodes_credential_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    class Spy:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(caller, "hmac", Spy)
    door = Door("s3cret", ())
    for shown in ("s", "s3cre", "s3cret2", "x" * 1000):
        with pytest.raises(CortexError):
            door.check({"authorization": f"Bearer {shown}"}, "127.0.0.1")
    assert [one for one, _ in compared] == [b"s", b"s3cre", b"s3cret2", b"x" * 1000]


def comparisons(path: Path) -> list[str]:
    """Return every ``==`` and ``!=`` with something that is named like a secret, and what is no constant."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Compare) or not any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
            continue
        sides = [node.left, *node.comparators]
        names = {side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", "") for side in sides}
        if names & SECRETS and not any(isinstance(side, ast.Constant) for side in sides):
            found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_no_secret_is_compared_byte_by_byte() -> None:
    paths = [*SRC.rglob("gateway/**/*.py"), *SRC.rglob("neuron/**/*.py"), *SRC.rglob("kit/**/*.py")]
    assert len(paths) > 100
    assert [line for path in paths for line in comparisons(path)] == []

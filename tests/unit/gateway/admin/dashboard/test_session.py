"""Notes for browsers that have signed in: whose they are, and what ends them."""

import pytest
from tests.unit.gateway.admin.dashboard.book import book_of, record

from cortex.gateway.admin.dashboard.session import MAX_AGE_S, MAX_ENDED, Session, Sessions, is_same, new_token
from cortex.testing.virtual_clock import VirtualClock


class Scene:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.book = book_of(record())
        self.sessions = self.gateway()
        self.note = self.sessions.begin(record())

    def gateway(self) -> Sessions:
        return Sessions(self.book, self.clock.epoch_s)

    def found(self, note: str | None = None) -> Session | None:
        return self.sessions.find(self.note if note is None else note)


@pytest.fixture
def it() -> Scene:
    return Scene()


def test_a_note_says_whose_it_is_and_holds_no_key(it: Scene) -> None:
    found = it.found()
    assert found is not None
    assert found.key.name == "olga"
    assert "ctx-operator" not in it.note
    assert record().digest.hex() not in it.note


def test_every_gateway_of_the_store_knows_it(it: Scene) -> None:
    assert it.gateway().find(it.note) == it.found()


def test_nobody_can_change_it(it: Scene) -> None:
    key_id, until_s, number, signature = it.note.split(".")
    forged = [
        f"{key_id}.{int(until_s) + 9999}.{number}.{signature}",
        f"key_other.{until_s}.{number}.{signature}",
        f"{key_id}.{until_s}.x.{signature}",
        f"{key_id}.{until_s}.{number}.{'0' * 64}",
        f"{key_id}.{until_s}.{number}.",
        f"{key_id}.{until_s}.{number}",
        f"{key_id}.{until_s}.{number}.ü",
        f"{key_id}.²{until_s}.{number}.{signature}",
        "",
        "....",
        "x" * 10_000,
    ]
    assert [it.found(note) for note in forged] == [None] * len(forged)


def test_what_forms_carry_is_no_note_and_differs_from_session_to_session(it: Scene) -> None:
    one, other = it.found(), it.found(it.sessions.begin(record()))
    assert one is not None
    assert other is not None
    assert one.token != other.token
    key_id, until_s, number, _ = it.note.split(".")
    assert it.found(f"{key_id}.{until_s}.{number}.{one.token}") is None


def test_it_ends_by_itself(it: Scene) -> None:
    it.clock.advance(MAX_AGE_S - 2)
    assert it.found() is not None
    it.clock.advance(2)
    assert it.found() is None


@pytest.mark.parametrize(
    "change",
    [{"revoked_s": 1.0}, {"expires_s": 1.0}, {"scope": "inference"}],
    ids=["revoked", "expired", "no operator's any more"],
)
def test_it_ends_with_its_key(it: Scene, change: dict[str, object]) -> None:
    it.book.take([record(**change)])
    assert it.found() is None


def test_it_ends_when_the_key_gets_another_secret(it: Scene) -> None:
    it.book.take([record("ctx-another")])
    assert it.found() is None


def test_it_ends_when_the_key_is_gone(it: Scene) -> None:
    it.book.take([])
    assert it.found() is None


def test_signing_out_ends_this_session_and_no_other(it: Scene) -> None:
    other = it.sessions.begin(record())
    found = it.found()
    assert found is not None
    it.sessions.end(found)
    assert it.found() is None
    assert it.found(other) is not None


def test_what_is_remembered_of_those_who_left_is_bounded(it: Scene) -> None:
    for _ in range(MAX_ENDED + 5):
        found = it.found(it.sessions.begin(record()))
        assert found is not None
        it.sessions.end(found)
    assert len(it.sessions._ended) == MAX_ENDED


def test_an_empty_token_is_the_same_as_none() -> None:
    token = new_token()
    assert is_same(token, token)
    assert not is_same("", "")
    assert not is_same(token, "ü")

"""Notes for browsers that have signed in: whose they are, what ends them, and what reading the store is worth."""

import asyncio
from hashlib import sha256

import pytest
from tests.unit.gateway.admin.dashboard.book import book_of, record
from tests.unit.gateway.admin.dashboard.session_shelf import SessionShelf, look, sessions_of

from cortex.gateway.admin.dashboard.session import MAX_AGE_S, Session, Sessions, is_same, new_token
from cortex.testing.virtual_clock import VirtualClock


class Scene:
    """A gateway where somebody has signed in, and the store that it shares with others."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.shelf = SessionShelf(self.clock)
        self.book = book_of(record())
        self.sessions = self.gateway()
        self.note = self.begin()

    def gateway(self) -> Sessions:
        return sessions_of(self.book, self.clock, self.shelf)

    def begin(self) -> str:
        note = asyncio.run(self.sessions.begin(record()))
        assert note is not None
        return note

    def found(self, note: str | None = None) -> Session | None:
        return self.sessions.find(self.note if note is None else note)

    def end(self) -> None:
        found = self.found()
        assert found is not None
        asyncio.run(self.sessions.end(found))


@pytest.fixture
def it() -> Scene:
    return Scene()


def test_a_note_says_whose_it_is_and_holds_no_key(it: Scene) -> None:
    found = it.found()
    assert found is not None
    assert found.key.name == "olga"
    assert "ctx-operator" not in it.note
    assert record().digest.hex() not in it.note


def test_nothing_that_the_store_has_is_a_note_or_what_forms_carry(it: Scene) -> None:
    ((kept, _),) = it.shelf.rows.values()
    found = it.found()
    assert found is not None
    read = (kept.digest, kept.key_digest, record().digest, kept.key_id.encode())
    forged = [text for one in read for text in (one.hex(), sha256(one).hexdigest(), one.decode("latin-1"))]
    assert [it.found(text) for text in forged] == [None] * len(forged)
    assert found.token not in forged
    assert it.note.encode() not in b"".join(read)
    assert kept.digest == sha256(it.note.encode()).digest()


def test_the_gateway_that_was_asked_knows_it_at_once_and_others_when_they_have_read_the_store(it: Scene) -> None:
    assert it.found() is not None
    other = it.gateway()
    assert other.find(it.note) is None
    look(other, it.shelf)
    assert other.find(it.note) == it.found()


def test_no_page_asks_the_store(it: Scene) -> None:
    asked = it.shelf.asked
    for _ in range(10):
        it.found()
    assert it.shelf.asked == asked


@pytest.mark.parametrize("change", [lambda note: note[:-1], lambda note: note + "x", lambda note: note.swapcase()])
def test_nobody_can_change_it(it: Scene, change) -> None:  # type: ignore[no-untyped-def]
    assert it.found(change(it.note)) is None


@pytest.mark.parametrize("note", ["", "ü", "\udcff", "x" * 10_000], ids=range(4))
def test_what_is_no_note_is_nobodys(it: Scene, note: str) -> None:
    assert it.found(note) is None


def test_what_forms_carry_is_no_note_and_differs_from_session_to_session(it: Scene) -> None:
    one, other = it.found(), it.found(it.begin())
    assert one is not None
    assert other is not None
    assert one.token != other.token
    assert it.found(one.token) is None


def test_it_ends_by_itself_here_and_where_it_was_read(it: Scene) -> None:
    it.clock.advance(1000)
    other = it.gateway()
    look(other, it.shelf)
    it.clock.advance(MAX_AGE_S - 1002)
    assert it.found() is not None
    assert other.find(it.note) is not None
    it.clock.advance(2)
    assert it.found() is None
    assert other.find(it.note) is None


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
    look(it.sessions, it.shelf)
    assert it.found() is None


def test_it_ends_when_the_key_is_gone(it: Scene) -> None:
    it.book.take([])
    assert it.found() is None


def test_with_a_key_that_holds_no_longer_none_begins(it: Scene) -> None:
    it.shelf.holds = False
    assert asyncio.run(it.sessions.begin(record())) is None


def test_signing_out_ends_this_session_and_no_other_on_all_gateways(it: Scene) -> None:
    other, note = it.gateway(), it.begin()
    look(other, it.shelf)
    it.end()
    look(other, it.shelf)
    for gateway in (it.sessions, other):
        assert gateway.find(it.note) is None
        assert gateway.find(note) is not None


def test_signing_out_while_the_store_is_silent_holds_here_and_is_told_when_it_answers(it: Scene) -> None:
    other = it.gateway()
    look(other, it.shelf)
    reading, read = it.sessions.reading(), it.shelf.read()
    it.shelf.is_silent = True
    it.end()
    assert it.found() is None
    it.sessions.take(read, reading)
    assert it.found() is None
    assert it.sessions.unended()
    it.shelf.is_silent = False
    look(it.sessions, it.shelf)
    assert it.sessions.unended() == ()
    look(other, it.shelf)
    assert other.find(it.note) is None


def test_what_was_read_before_a_session_began_does_not_end_it(it: Scene) -> None:
    reading, read = it.sessions.reading(), it.shelf.read()
    note = it.begin()
    it.sessions.take(read, reading)
    assert it.found(note) is not None
    look(it.sessions, it.shelf)
    assert it.found(note) is not None


def test_what_was_read_before_a_session_ended_does_not_bring_it_back(it: Scene) -> None:
    reading, read = it.sessions.reading(), it.shelf.read()
    it.end()
    it.sessions.take(read, reading)
    assert it.found() is None


def test_what_the_store_has_no_longer_has_ended(it: Scene) -> None:
    it.shelf.rows.clear()
    look(it.sessions, it.shelf)
    assert it.found() is None


def test_nothing_is_remembered_of_those_who_have_left(it: Scene) -> None:
    it.end()
    look(it.sessions, it.shelf)
    assert not it.sessions._known
    assert not it.sessions._changes


def test_an_empty_token_is_the_same_as_none() -> None:
    token = new_token()
    assert is_same(token, token)
    assert not is_same("", "")
    assert not is_same(token, "ü")

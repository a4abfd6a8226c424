"""The keys in memory: who is found by a secret, and what holds while the store is silent."""

import pytest

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import Key
from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.key_secret import digest_of
from cortex.gateway.ports import KeyRecord

KEY = Key(id="key_1", name="alice", shown="ctx-abcd")
RECORD = KeyRecord(digest_of(b"ctx-abcdef"), KEY)
SILENT = StoreUnavailable("the store cannot be asked: no route")


def book(*records: KeyRecord, fails_closed: bool = False) -> MemoryKeyBook:
    made = MemoryKeyBook(fails_closed=fails_closed)
    made.take(records)
    return made


def test_a_key_is_found_by_the_whole_of_its_secret_and_by_nothing_else() -> None:
    known = book(RECORD)
    assert known.find(b"ctx-abcdef") == KEY
    for wrong in (b"", b"ctx-abcd", b"ctx-abcdefg", RECORD.digest, b"key_1"):
        assert known.find(wrong) is None


def test_keys_that_are_gone_are_found_no_longer() -> None:
    known = book(RECORD)
    known.take([])
    assert known.find(b"ctx-abcdef") is None


def test_keys_are_asked_for_once_there_is_one_and_also_when_the_store_comes_back_empty() -> None:
    known = book()
    assert not known.is_needed
    known.take([RECORD])
    assert known.is_needed
    known.take([])
    assert known.is_needed


@pytest.mark.parametrize("fails_closed", [False, True])
def test_before_the_store_was_read_nobody_can_tell_whether_a_key_is_asked_for(fails_closed: bool) -> None:
    unread = MemoryKeyBook(fails_closed=fails_closed)
    with pytest.raises(StoreUnavailable):
        _ = unread.is_needed


def test_while_the_store_is_silent_known_keys_go_on_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    known = book(RECORD)
    for _ in range(3):
        known.failed(SILENT)
    assert known.is_needed
    assert known.find(b"ctx-abcdef") == KEY
    known.answered()
    known.answered()
    assert [record.message for record in caplog.records] == [
        "keys cannot be read anew: the keys that are known go on, and changes of keys wait",
        "the keys are those of the store again",
    ]


def test_one_that_fails_closed_lets_nobody_in_until_the_store_answers(caplog: pytest.LogCaptureFixture) -> None:
    known = book(RECORD, fails_closed=True)
    assert known.is_needed
    known.failed(SILENT)
    with pytest.raises(StoreUnavailable):
        _ = known.is_needed
    known.answered()
    assert known.is_needed
    assert "nobody is let in before the store answers" in caplog.text


def test_a_key_is_found_by_its_id_with_what_is_kept_of_its_secret_now() -> None:
    known = book(RECORD)
    assert known.record_of("key_1") == RECORD
    another = KeyRecord(digest_of(b"ctx-another"), KEY)
    known.take([another])
    assert known.record_of("key_1") == another
    assert known.record_of("key_2") is None

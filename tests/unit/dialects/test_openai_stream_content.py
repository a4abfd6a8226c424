"""A stream that is watched for a stall: when content came last, though not every chunk is looked at."""

import pytest
from tests.unit.dialects.stream import FINISH, ROLE_ONLY, delta, event, text

from cortex.dialects.openai_stream import StreamTap


def watched(*payloads: bytes, every: int = 1) -> tuple[StreamTap, float]:
    """Feed one chunk a second after a first word, and look every so many; return when content came last."""
    tap = StreamTap("m", strip_usage=False)
    tap.feed(event(text(b"first")), 0.0)
    found = 0.0
    for second, payload in enumerate(payloads, 1):
        assert tap.feed(event(payload), float(second)) == event(payload)
        if not second % every:
            found = tap.look_for_content()
    return tap, found


SILENT = (
    ROLE_ONLY,
    text(b""),
    delta(b""),
    delta(b'"content":null,"tool_calls":[]'),
    delta(b'"role":"assistant","content":""'),
    b'{"choices":[{"index":0,"text":"","finish_reason":null}]}',
)


@pytest.mark.parametrize("empty", SILENT)
@pytest.mark.parametrize("every", [1, 2, 7])
def test_empty_chunks_are_no_content_however_many(empty: bytes, every: int) -> None:
    _, found = watched(text(b"a"), text(b"b"), *(empty for _ in range(40)), every=every)
    assert found <= 2 + every, "at most one look late"


@pytest.mark.parametrize("word", [text(b"a"), delta(b'"reasoning":"a"'), delta(b'"thinking":"a"'), FINISH])
@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_a_word_among_empty_chunks_is_content_whenever_it_is_looked_for(word: bytes, every: int) -> None:
    """The engine sends an empty chunk after every word, and each look finds an empty one."""
    payloads = [payload for _ in range(20) for payload in (word, text(b""), text(b""))]
    _, found = watched(*payloads, every=every)
    assert found >= len(payloads) - 3 - every


def test_a_stream_that_speaks_is_not_looked_at_more_closely_for_being_watched() -> None:
    tap, found = watched(*(text(b"word") for _ in range(9)))
    assert found == 9.0
    piece = event(text(b"word"))
    assert tap.feed(piece, 10.0) is piece
    tap.feed(event(text(b"")), 11.0)
    tap.look_for_content()
    tap.feed(piece, 12.0)
    assert tap.look_for_content() == 12.0
    tap.feed(piece, 13.0)
    assert tap.feed(piece, 14.0) is piece, "it is fast again"

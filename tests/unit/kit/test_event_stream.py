"""Places in a stream, messages, and the bell that wakes its readers."""

import asyncio

import msgspec
import pytest

from cortex.kit.event_stream import Bell, Since, message


class Body(msgspec.Struct):
    text: str


@pytest.mark.parametrize(
    ("text", "since"), [("7", Since(None, 7)), ("life-1:7", Since("life-1", 7)), ("a:b:0", Since("a:b", 0))]
)
def test_a_place_is_read_and_written_alike(text: str, since: Since) -> None:
    assert Since.parse(text) == since
    assert str(since) == text


@pytest.mark.parametrize("text", ["", "x", ":7", "a:", "a:-1", "1" * 19, "a:\u0663"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number of a change"):
        Since.parse(text)


def test_a_message_is_one_event_whatever_is_in_it() -> None:
    written = message("decision", Body("two\nlines"), Since("x", 3))
    assert written == b'event: decision\nid: x:3\ndata: {"text":"two\\nlines"}\n\n'
    assert message("gap", Body("")) == b'event: gap\ndata: {"text":""}\n\n'


def test_a_bell_wakes_everybody_who_waits_and_nobody_later() -> None:
    async def scene() -> None:
        bell = Bell()
        waiting = [asyncio.create_task(bell.wait(60)) for _ in range(3)]
        await asyncio.sleep(0)
        bell.ring()
        assert await asyncio.gather(*waiting) == [True] * 3
        assert await bell.wait(0) is False

    asyncio.run(scene())

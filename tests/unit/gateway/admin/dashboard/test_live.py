"""What is live: rendered once for all who look, sent when it is otherwise, and never for nobody."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cortex.contract.error import CapacityError
from cortex.gateway.admin.dashboard.difference import marked
from cortex.gateway.admin.dashboard.live import MAX_CHANNELS, MAX_READERS, MIN_EVERY_S, Live, as_message
from cortex.gateway.admin.dashboard.page import Desk, Filling, Page, Query
from cortex.kit.event_stream import HEARTBEAT
from cortex.kit.task import TaskOwner


async def nothing(_desk: Desk, _query: Query) -> Filling:
    return {}


PAGE = Page(name="fleet", path="", title="Fleet", look=nothing, every_s=1.0)


class Stage:
    """Looks are taken when the test says so."""

    def __init__(self) -> None:
        self.tasks = TaskOwner()
        self.slept: list[float] = []
        self.turns = asyncio.Queue[None]()
        self.live = Live(self.tasks, self._sleep)
        self.text, self.renders, self.may_look = "<p>one</p>", 0, True

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.turns.get()

    async def render(self) -> str:
        self.renders += 1
        return self.text

    def stream(self, query: tuple[tuple[str, str], ...] = (), page: Page = PAGE) -> AsyncIterator[bytes]:
        return self.live.stream(page, query, self.render, lambda: self.may_look, heartbeat_s=600.0)

    def look(self, text: str | None = None) -> None:
        self.text = self.text if text is None else text
        self.turns.put_nowait(None)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


def play(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def whole() -> None:
        it = Stage()
        await scene(it)
        await it.settle()
        assert it.live.readers == 0, "a reader is still counted"
        assert len(it.tasks) == 0, "a page is rendered for nobody"

    asyncio.run(whole())


def test_many_who_look_at_the_same_cost_one_rendering() -> None:
    async def scene(it: Stage) -> None:
        streams = [it.stream() for _ in range(20)]
        firsts = [await anext(stream) for stream in streams]
        assert set(firsts) == {as_message("<p>one</p>")}
        it.look("<p>two</p>")
        assert {await anext(stream) for stream in streams} == {as_message("<p>two</p>")}
        assert it.renders == 2
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]

    play(scene)


def test_what_is_the_same_is_not_sent_again() -> None:
    async def scene(it: Stage) -> None:
        stream = it.stream()
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        it.look()
        await it.settle()
        assert not waiting.done()
        it.look("<p>two</p>")
        assert await waiting == as_message("<p>two</p>")
        await stream.aclose()  # type: ignore[attr-defined]

    play(scene)


def test_who_is_slow_gets_the_newest_and_nothing_of_what_was_between() -> None:
    async def scene(it: Stage) -> None:
        stream = it.stream()
        await anext(stream)
        for text in ("<p>two</p>", "<p>three</p>"):
            it.look(text)
            await it.settle()
        assert await anext(stream) == as_message("<p>three</p>")
        await stream.aclose()  # type: ignore[attr-defined]

    play(scene)


def test_of_a_page_with_parts_only_those_are_sent_that_are_otherwise() -> None:
    async def scene(it: Stage) -> None:
        parts = [marked(f'<p id="{name}">1</p>') for name in "ab"]
        it.text = "\n".join(parts)
        stream, late = it.stream(), it.stream()
        whole = as_message('<p id="a">1</p>\n<p id="b">1</p>')
        assert [await anext(stream), await anext(late)] == [whole, whole]
        it.look("\n".join([parts[0], marked('<p id="b">2</p>')]))
        assert await anext(stream) == as_message('<hx-partial id="b" hx-swap="outerMorph"><p id="b">2</p></hx-partial>')
        it.look("\n".join([parts[0], marked('<p id="b">3</p>')]))
        await it.settle()
        assert await anext(late) == as_message('<p id="a">1</p>\n<p id="b">3</p>')  # it has missed one: the whole
        for one in (stream, late):
            await one.aclose()  # type: ignore[attr-defined]

    play(scene)


def test_no_page_is_looked_at_more_often_than_twice_a_second() -> None:
    async def scene(it: Stage) -> None:
        stream = it.stream(page=PAGE._replace(every_s=0.01))
        await anext(stream)
        await it.settle()
        assert it.slept == [MIN_EVERY_S]
        await stream.aclose()  # type: ignore[attr-defined]

    play(scene)


def test_who_may_not_look_any_more_is_shown_nothing_more() -> None:
    async def scene(it: Stage) -> None:
        stream = it.stream()
        await anext(stream)
        it.may_look = False
        it.look("<p>secret</p>")
        await it.settle()
        assert [piece async for piece in stream] == []

    play(scene)


def test_readers_and_pages_are_bounded() -> None:
    async def scene(it: Stage) -> None:
        streams = [it.stream((("model", str(number)),)) for number in range(MAX_CHANNELS)]
        for stream in streams:
            await anext(stream)
        with pytest.raises(CapacityError):
            it.stream((("model", "one more"),))
        more = [it.stream((("model", "0"),)) for _ in range(MAX_READERS - MAX_CHANNELS)]
        for stream in more:
            await anext(stream)
        with pytest.raises(CapacityError):
            it.stream((("model", "0"),))
        for stream in (*streams, *more):
            await stream.aclose()  # type: ignore[attr-defined]

    play(scene)


def test_when_the_gateway_stops_every_stream_ends() -> None:
    async def scene(it: Stage) -> None:
        stream = it.stream()
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream, None))
        await it.settle()
        it.live.close()
        assert await waiting is None

    play(scene)


def test_a_page_that_cannot_be_rendered_ends_its_streams_and_not_the_gateway() -> None:
    async def scene(it: Stage) -> None:
        async def broken() -> str:
            raise RuntimeError("no")

        stream = it.live.stream(PAGE, (), broken, lambda: True, heartbeat_s=600.0)
        assert [piece async for piece in stream] == []

    play(scene)


def test_who_comes_after_a_page_has_failed_has_it_rendered_anew_though_another_still_reads() -> None:
    async def scene(it: Stage) -> None:
        async def broken() -> str:
            if it.text == "broken":
                raise RuntimeError("no")
            return it.text

        slow = it.live.stream(PAGE, (), broken, lambda: True, heartbeat_s=600.0)
        await anext(slow)
        it.look("broken")
        await it.settle()
        it.text = "<p>two</p>"
        late = it.stream()
        assert await anext(late) == as_message("<p>two</p>")
        assert [piece async for piece in slow] == []
        it.look("<p>three</p>")
        assert await anext(late) == as_message("<p>three</p>")
        await late.aclose()  # type: ignore[attr-defined]

    play(scene)


def test_while_nothing_happens_a_stream_is_kept_alive() -> None:
    async def scene(it: Stage) -> None:
        stream = it.live.stream(PAGE, (), it.render, lambda: True, heartbeat_s=0.0)
        pieces = [await anext(stream) for _ in range(6)]
        assert HEARTBEAT in pieces
        await stream.aclose()  # type: ignore[attr-defined]

    play(scene)


def test_a_piece_of_a_page_is_one_message_whatever_ends_its_lines() -> None:
    assert as_message("<pre>a\r\nb\rc\n\nd</pre>") == b"data: <pre>a\ndata: b\ndata: c\ndata: \ndata: d</pre>\n\n"
    assert b"\nevent:" not in as_message("x\nevent: y")

"""The lists of servers: kept while they are silent, told when they change."""

import asyncio

import pytest
from tests.unit.neuron.fake_node import FakeHarness

from cortex.neuron.harness.interface import ListedModel
from cortex.neuron.server_list import ServerLists


def listed(*ids: str) -> tuple[ListedModel, ...]:
    return tuple(ListedModel(id=name, url="http://h", engine_model=name) for name in ids)


def test_the_last_answers_are_kept_in_the_order_of_the_entries() -> None:
    async def run() -> None:
        first, second = FakeHarness("first"), FakeHarness("second")
        first.models, second.models = listed("a", "b"), listed("a")
        lists = ServerLists([first, second], lambda: None)
        assert list(lists) == []
        await lists.refresh()
        assert [(harness.name, model.id) for harness, model in lists] == [
            ("first", "a"),
            ("first", "b"),
            ("second", "a"),
        ]
        assert lists.of("second") == listed("a")
        assert lists.of("nobody") == ()

    asyncio.run(run())


def test_a_silent_server_keeps_its_list_until_it_answers_again(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        harness = FakeHarness("h")
        harness.models = listed("a")
        lists = ServerLists([harness], lambda: None)
        await lists.refresh()
        harness.models = None
        await lists.ask(harness)
        assert (lists.is_silent("h"), lists.of("h")) == (True, listed("a"))
        harness.models = listed("b")
        await lists.ask(harness)
        assert (lists.is_silent("h"), lists.of("h")) == (False, listed("b"))

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "harness h: its server does not answer",
        "harness h: its server answers again",
    ]


def test_only_a_change_is_told() -> None:
    async def run() -> None:
        changes: list[None] = []
        harness = FakeHarness("h")
        harness.models = listed("a")
        lists = ServerLists([harness], lambda: changes.append(None))
        for models, expected in ((listed("a"), 1), (listed("a"), 1), (None, 2), (None, 2), (listed("a"), 3)):
            harness.models = models
            await lists.refresh()
            assert len(changes) == expected

    asyncio.run(run())

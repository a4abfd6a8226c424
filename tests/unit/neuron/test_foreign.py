"""Models of servers that run by themselves, alone and beside our own instances."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL, FakeHarness, FakeNode, a_node, a_request

from cortex.contract.error import UpstreamUnreachable
from cortex.contract.instance import LoadAnswer, UnloadRequest
from cortex.neuron.foreign import ForeignModels
from cortex.neuron.harness.interface import ListedModel
from cortex.neuron.refusal import LoadedDifferently, NotLoaded, NotManaged
from cortex.neuron.server_list import ServerLists

Scenario = Callable[[FakeNode], Awaitable[None]]


def listed(*ids: str, url: str = "http://127.0.0.1:8080") -> tuple[ListedModel, ...]:
    return tuple(ListedModel(id=name, url=url, engine_model=f"{name}-there") for name in ids)


def a_server(name: str = "old", *ids: str, url: str = "http://127.0.0.1:8080") -> FakeHarness:
    harness = FakeHarness(name, kind="openai", model="foreign", device_kinds=())
    harness.models = listed(*ids, url=url)
    return harness


def play(tmp_path: Path, scenario: Scenario, *harnesses: FakeHarness) -> None:
    async def run() -> None:
        async with a_node(tmp_path, *harnesses) as node:
            await node.supervisor.adopt([])
            await scenario(node)

    asyncio.run(run())


def statuses(node: FakeNode) -> dict[str, tuple[str, str]]:
    return {report.id: (report.harness, report.status) for report in node.supervisor.reports()}


def test_what_a_server_lists_is_loaded_and_reached_there(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        assert statuses(node) == {"a": ("old", "loaded"), "b": ("old", "loaded")}
        reach = node.supervisor.reach("b")
        assert (reach.harness, reach.url, reach.generation) == ("old", "http://127.0.0.1:8080", 0)
        assert reach.engine_model == "b-there"
        assert node.supervisor.route(reach.nonce) == "http://127.0.0.1:8080"

    play(tmp_path, scenario, a_server("old", "a", "b"))


def test_a_silent_servers_models_are_not_loaded_until_it_answers_again(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.models = None
        await node.supervisor.look()
        (report,) = node.supervisor.reports()
        assert report.error is not None
        assert (report.status, report.error.code) == ("failed", "server_silent")
        assert report.error.message == "the server at http://127.0.0.1:8080 does not answer"
        assert [harness.healthy for harness in node.supervisor.health()] == [False]
        with pytest.raises(NotLoaded, match="does not answer"):
            node.supervisor.reach("a")
        with pytest.raises(UpstreamUnreachable):
            await node.supervisor.load(a_request("a", harness="old"))
        node.harness.models = listed("a")
        await node.supervisor.look()
        assert statuses(node) == {"a": ("old", "loaded")}
        assert [harness.healthy for harness in node.supervisor.health()] == [True]

    play(tmp_path, scenario, a_server("old", "a"))


def test_a_silent_server_that_is_back_is_noticed_by_the_load_that_wants_it(tmp_path: Path) -> None:
    server = a_server("old", "a")

    async def scenario(node: FakeNode) -> None:
        server.models = None
        await node.supervisor.look()
        assert statuses(node) == {"a": ("old", "failed")}
        with pytest.raises(UpstreamUnreachable):
            await node.supervisor.load(a_request("a", harness="old"))
        server.models = listed("a")
        assert await node.supervisor.load(a_request("a", harness="old")) == LoadAnswer(status="loaded")
        assert statuses(node) == {"a": ("old", "loaded")}

    play(tmp_path, scenario, server)


def test_a_server_that_never_answered_lists_nothing_and_loads_nothing(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        assert statuses(node) == {}
        with pytest.raises(UpstreamUnreachable, match="the server of harness 'old' does not answer"):
            await node.supervisor.load(a_request("a", harness="old"))

    server = a_server()
    server.models = None
    play(tmp_path, scenario, server)


def test_a_model_that_is_not_listed_any_more_is_gone(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.models = listed("b")
        await node.supervisor.look()
        assert statuses(node) == {"b": ("old", "loaded")}

    play(tmp_path, scenario, a_server("old", "a"))


def test_changes_of_a_list_are_events_and_nothing_else_is(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        async def event_after(models: tuple[ListedModel, ...] | None) -> int:
            node.harness.models = models
            await node.supervisor.look()
            return node.events.event

        first = await event_after(listed("a"))
        assert await event_after(listed("a")) == first
        assert await event_after(None) == first + 1
        assert await event_after(None) == first + 1
        assert await event_after(listed("a")) == first + 2
        assert await event_after(listed("a", "b")) == first + 3

    play(tmp_path, scenario, a_server("old", "a"))


def test_loading_what_is_listed_is_done_at_once_and_other_things_cannot_be(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        for name in ("old", "openai"):
            assert await node.supervisor.load(a_request("a", harness=name)) == LoadAnswer(status="loaded")
        with pytest.raises(NotManaged):
            await node.supervisor.unload(UnloadRequest(model_id="a"))
        with pytest.raises(NotManaged):
            node.supervisor.log_tail("a", 5)

    play(tmp_path, scenario, a_server("old", "a"))


def test_of_two_servers_with_one_model_the_first_that_answers_is_named(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        assert node.supervisor.reach("a").harness == "one"
        node.harness.models = None
        await node.supervisor.look()
        assert statuses(node) == {"a": ("two", "loaded")}
        assert node.supervisor.reach("a").url == "http://127.0.0.1:2"

    play(
        tmp_path,
        scenario,
        a_server("one", "a", url="http://127.0.0.1:1"),
        a_server("two", "a", url="http://127.0.0.1:2"),
    )


def test_of_several_servers_of_one_entry_each_has_its_own_relay_and_key(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        one, two = node.supervisor.reach("a"), node.supervisor.reach("b")
        assert (one.url, one.credential, two.url, two.credential) == ("http://h:1", "k1", "http://h:2", "k2")
        assert one.nonce != two.nonce
        assert [node.supervisor.route(reach.nonce) for reach in (one, two)] == ["http://h:1", "http://h:2"]
        assert [node.supervisor.credential(reach.nonce) for reach in (one, two)] == ["k1", "k2"]
        assert node.supervisor.credential("other") is None
        node.harness.models = listed("a", url="http://h:2")
        await node.supervisor.look()
        assert node.supervisor.reach("a").nonce == two.nonce
        assert node.supervisor.route(one.nonce) is None, "that server lists nothing any more"

    server = a_server()
    server.models = (
        ListedModel(id="a", url="http://h:1", engine_model="a", credential="k1"),
        ListedModel(id="b", url="http://h:2", engine_model="b", credential="k2"),
    )
    play(tmp_path, scenario, server)


def test_a_model_whose_own_server_is_silent_has_failed_and_the_others_go_on(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        assert statuses(node) == {"a": ("old", "failed"), "b": ("old", "loaded")}
        assert [harness.healthy for harness in node.supervisor.health()] == [True]
        with pytest.raises(NotLoaded, match="the server at http://h:1 does not answer"):
            node.supervisor.reach("a")
        with pytest.raises(UpstreamUnreachable):
            await node.supervisor.load(a_request("a", harness="old"))
        assert node.supervisor.reach("b").url == "http://h:2"

    server = a_server()
    server.models = (
        ListedModel(id="a", url="http://h:1", engine_model="a", is_silent=True),
        ListedModel(id="b", url="http://h:2", engine_model="b"),
    )
    play(tmp_path, scenario, server)


def test_a_model_that_a_server_has_is_not_loaded_a_second_time_while_it_answers(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        with pytest.raises(LoadedDifferently, match="served by harness old, not fake"):
            await node.supervisor.load(a_request(MODEL, harness="fake"))
        node.harness.models = None
        await node.supervisor.look()
        await node.load(MODEL, harness="fake")
        assert statuses(node) == {MODEL: ("fake", "loaded")}
        assert node.supervisor.reach(MODEL).generation == 1
        node.harness.models = listed(MODEL)
        await node.supervisor.look()
        assert statuses(node) == {MODEL: ("fake", "loaded")}, "our own stays until it is unloaded"

    play(tmp_path, scenario, a_server("old", MODEL), FakeHarness())


def test_a_long_list_is_gone_through_once_for_all_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        models = ForeignModels([a_server("old", *map(str, range(500)))], lambda: None)
        await models.refresh()
        turns: list[int] = []
        go_through = ServerLists.__iter__
        monkeypatch.setattr(ServerLists, "__iter__", lambda lists: (turns.append(1), go_through(lists))[1])
        assert len(models.reports()) == 500
        assert len(turns) == 1

    asyncio.run(run())


def test_our_own_harnesses_are_not_asked_for_lists() -> None:
    async def scenario() -> None:
        ours = FakeHarness()
        ours.models = listed("a")
        models = ForeignModels((ours,), lambda: None)
        await models.refresh()
        assert (models.reports(), models.find("a"), models.route("x")) == ({}, None, None)

    asyncio.run(scenario())

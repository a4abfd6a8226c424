"""What is done with models, and what is shown before."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.unit.fleet.builder import a_node, a_profile, a_report
from tests.unit.gateway.admin.dashboard.stage import call_of, desk_of
from tests.unit.gateway.admin.scene import FakeFleet, a_model, a_view

from cortex.contract.admin import ExplainQuery, LoadCall, PinCall, UnloadCall
from cortex.contract.error import MalformedRequest, ModelNotFound
from cortex.fleet.explain import Explanation, InstanceNote, NodeNote
from cortex.fleet.prospect import Prospect, ProspectKind
from cortex.gateway.admin.dashboard.model_action import (
    load,
    pin,
    prospect_words,
    show_load,
    show_pin,
    show_unload,
    unload,
)
from cortex.gateway.admin.dashboard.page import Call, Desk, Query, Reply


class Fleet(FakeFleet):
    """One whose plan for a model makes others go."""

    def __init__(self, *evicts: str) -> None:
        super().__init__()
        self.evicts = evicts
        node = a_node("beast", models=[a_report("org/big", generation=3, vram_used_mb=9_000)])
        self.now = a_view([node, a_node("benjy")], [a_model(), a_model("org/cold", replicas=(), waiting=0)])

    def explain(self, query: ExplainQuery) -> Explanation:
        notes = tuple(
            InstanceNote(model=model, status="loaded", devices=(0,), held_mb=5, idle_s=3.0, goes=True, why="could go")
            for model in self.evicts
        )
        node = NodeNote(node="beast", verdict="evicts", why="has room then", rank=1, instances=notes)
        return Explanation(model=query.model, strategy="lru", priority=0, need_mb=1, nodes=(node,))


def shown(
    act: Callable[[Desk, Call], Awaitable[Reply]], fleet: FakeFleet, query: Query | None = None, **form: str
) -> Reply:
    return asyncio.run(act(desk_of(fleet), call_of(query, form)))


def test_before_a_load_it_is_shown_who_would_have_to_go() -> None:
    reply = shown(show_load, Fleet("old", "older"), {"model": "org/cold"})
    assert [note.model for note in reply.filling["prospect"].evicts] == ["old", "older"]
    assert reply.filling["words"] == "It would be loaded on beast."
    assert reply.filling["nodes"] == ["beast", "benjy"]


def test_what_was_shown_is_done() -> None:
    fleet = Fleet("old")
    fleet.status = "loading"
    reply = shown(load, fleet, model="org/cold", node="beast", evicts="old")
    assert fleet.asked == [LoadCall(model="org/cold", node="beast")]
    assert reply.filling["said"] == "It is loading on beast."


def test_fewer_than_were_shown_may_go() -> None:
    fleet = Fleet()
    shown(load, fleet, model="org/cold", evicts="old\nolder")
    assert fleet.asked == [LoadCall(model="org/cold")]


def test_nobody_goes_who_was_not_shown() -> None:
    fleet = Fleet("old", "precious")
    reply = shown(load, fleet, model="org/cold", evicts="old")
    assert fleet.asked == []
    assert reply.template == "load_sheet.html"
    assert reply.filling["is_otherwise"]


def test_before_an_unload_it_is_shown_what_runs_there_and_what_becomes_of_it() -> None:
    fleet = Fleet()
    fleet.now = a_view(fleet.now.nodes, [a_model(profile=a_profile("org/big", min_replicas=1))])
    filling = shown(show_unload, fleet, {"model": "org/big", "node": "beast"}).filling
    assert filling["one"].in_flight == 2
    assert filling["others"] == []
    assert filling["waiting"] == 1
    assert "wants 1 of it loaded" in filling["keeps"]


def test_it_is_said_when_it_stays_loaded_elsewhere() -> None:
    fleet = Fleet()
    other = a_node("benjy", models=[a_report("org/big")])
    fleet.now = a_view([fleet.now.nodes[0], other], [a_model(profile=a_profile("org/big", min_replicas=1))])
    filling = shown(show_unload, fleet, {"model": "org/big", "node": "beast"}).filling
    assert filling["others"] == ["benjy"]
    assert filling["keeps"] == ""


@pytest.mark.parametrize(("force", "is_forced"), [({}, False), ({"force": "yes"}, True), ({"force": "no"}, False)])
def test_nothing_is_cut_unless_that_was_asked_for(force: dict[str, str], is_forced: bool) -> None:
    fleet = Fleet()
    reply = shown(unload, fleet, model="org/big", node="beast", **force)
    assert fleet.asked == [UnloadCall(model="org/big", node="beast", force=is_forced)]
    assert reply.filling["said"] == "It leaves beast when what runs there is over."


@pytest.mark.parametrize(("word", "pinned"), [("true", True), ("false", False), ("catalogue", None)])
def test_a_pin_is_set_taken_away_or_left_to_the_catalogue(word: str, pinned: bool | None) -> None:
    fleet = Fleet()
    assert shown(show_pin, fleet, {"model": "big", "node": "beast", "pinned": word}).filling["pinned"] is pinned
    shown(pin, fleet, model="org/big", node="beast", pinned=word)
    assert fleet.asked == [PinCall(model="org/big", node="beast", pinned=pinned)]


@pytest.mark.parametrize(
    ("act", "query", "error"),
    [
        (show_load, {}, MalformedRequest),
        (show_load, {"model": "none"}, ModelNotFound),
        (show_unload, {"model": "org/big"}, MalformedRequest),
        (show_unload, {"model": "org/big", "node": "benjy"}, MalformedRequest),
        (show_pin, {"model": "org/big", "node": "beast", "pinned": "maybe"}, MalformedRequest),
    ],
)
def test_what_does_not_fit_is_refused(
    act: Callable[[Desk, Call], Awaitable[Reply]], query: Query, error: type[Exception]
) -> None:
    with pytest.raises(error):
        shown(act, Fleet(), query)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("served", "It is loaded on beast already."),
        ("joins", "It is there on beast already, or is being loaded."),
        ("loads", "It would be loaded on beast, device 0, 1."),
        ("waits", "It would wait on beast."),
        ("refused", "It would be refused for now."),
        ("never", "No node can load it."),
    ],
)
def test_every_prospect_has_its_words(outcome: ProspectKind, words: str) -> None:
    base = Prospect(model="m", outcome=outcome, node="beast")
    assert prospect_words(msgspec.structs.replace(base, devices=(0, 1) if outcome == "loads" else ())) == words

"""Load, wait or refuse."""

import pytest
from tests.unit.fleet.builder import a_discovery, a_health, a_profile, a_report, take_sample

from cortex.contract import error
from cortex.contract.profile import Variant
from cortex.fleet.event import NodeSampled
from cortex.fleet.load_book import LoadBook
from cortex.fleet.load_choice import MAX_REFUSALS, Load, LoadChoice, Refusal, Wait, load_request
from cortex.fleet.model import Model
from cortex.fleet.placement import Placement
from cortex.fleet.revision import revision_of
from cortex.fleet.roster import Roster
from cortex.fleet.variant import profile_for


def a_roster(*nodes: str) -> Roster:
    roster = Roster(nodes)
    for node in nodes:
        roster.discover(node, a_discovery())
        take_sample(roster, NodeSampled(node=node, health=a_health([24_000]), models=(), asked_s=1.0))
    return roster


def choose(
    model: Model, roster: Roster, book: LoadBook | None = None, *, is_settled: bool = True
) -> Load | Wait | Refusal:
    choice = LoadChoice(roster, book or LoadBook(), {model.id: model})
    return choice.choose(model, strategy="lru", is_settled=is_settled, now_s=100.0)


def refused(found: Load | Wait | Refusal) -> error.CortexError:
    assert isinstance(found, Refusal), found
    return found.error


def fail(book: LoadBook, *nodes: str) -> None:
    for node in nodes:
        book.fail(node, "m", code="oom", message="x", log_tail=(), now_s=100.0)


def test_nothing_is_decided_before_every_node_was_asked() -> None:
    assert isinstance(choose(Model("m", a_profile()), a_roster("a"), is_settled=False), Wait)


def test_best_node_that_may_be_tried_is_chosen() -> None:
    model, book = Model("m", a_profile(pinned_on=("b",))), LoadBook()
    roster = a_roster("a", "b", "c")
    first = choose(model, roster, book)
    assert isinstance(first, Load)
    assert first.node == "b"
    fail(book, "b")
    second = choose(model, roster, book)
    assert isinstance(second, Load)
    assert second.node in ("a", "c")


def test_a_model_that_was_seen_to_need_more_than_there_is_is_refused_for_now_and_told_so() -> None:
    model = Model("m", a_profile(vram_mb=23_000))
    model.learnt_mb = 25_000
    found = refused(choose(model, a_roster("a")))
    assert isinstance(found, error.NoHealthyNode)
    assert "25000 MiB do not fit" in found.message


def put_off(book: LoadBook, node: str, times: int = 1) -> None:
    for _ in range(times):
        book.fail(node, "m", code="busy", message="x", now_s=99.0)


def test_node_that_has_only_said_to_ask_again_is_waited_for_whatever_fails_elsewhere_meanwhile() -> None:
    model, book, roster = Model("m", a_profile()), LoadBook(), a_roster("a", "b")
    put_off(book, "a")
    fail(book, "b")
    model.tried = ["b"]
    choice = LoadChoice(roster, book, {"m": model})
    assert isinstance(choice.choose(model, strategy="lru", is_settled=True, now_s=99.5), Wait)
    later = choice.choose(model, strategy="lru", is_settled=True, now_s=100.5)
    assert isinstance(later, Load)
    assert later.node == "a"


def test_node_that_has_said_so_again_and_again_is_not_waited_for_after_another_has_failed() -> None:
    model, book, roster = Model("m", a_profile()), LoadBook(), a_roster("a", "b")
    put_off(book, "a", MAX_REFUSALS)
    fail(book, "b")
    model.tried = ["b"]
    assert isinstance(refused(choose(model, roster, book)), error.LoadFailed)


def test_third_node_that_was_put_off_is_not_waited_for_after_two_have_failed() -> None:
    model, book, roster = Model("m", a_profile()), LoadBook(), a_roster("a", "b", "c")
    put_off(book, "c")
    fail(book, "a", "b")
    model.tried = ["a", "b"]
    found = LoadChoice(roster, book, {"m": model}).choose(model, strategy="lru", is_settled=True, now_s=99.5)
    assert isinstance(refused(found), error.LoadFailed)


def test_third_node_is_not_tried_for_the_same_requests() -> None:
    model, book = Model("m", a_profile()), LoadBook()
    model.tried = ["a", "b"]
    fail(book, "a", "b")
    assert isinstance(refused(choose(model, a_roster("a", "b", "c"), book)), error.LoadFailed)


def test_node_that_was_tried_for_these_requests_is_not_tried_again_even_after_its_back_off() -> None:
    model, book = Model("m", a_profile()), LoadBook()
    model.tried = ["a"]
    book.fail("a", "m", code="engine_failed", message="x", now_s=0.0)
    found = choose(model, a_roster("a"), book)
    assert isinstance(refused(found), error.LoadFailed)
    assert isinstance(found, Refusal)
    assert found.node == "a"


def test_node_that_has_no_room_for_now_is_waited_for() -> None:
    model, book = Model("m", a_profile()), LoadBook()
    book.fail("a", "m", code="busy", message="x", now_s=100.0, retry_in_s=2.0)
    assert isinstance(choose(model, a_roster("a"), book), Wait)


@pytest.mark.parametrize("code", ["stale", "loaded_differently"])
def test_a_node_of_which_too_little_was_known_is_waited_for_whatever_it_has_said_before(code: str) -> None:
    """Two gateways that fill the same nodes: the one is told that the other has loaded the model meanwhile."""
    model, book = Model("m", a_profile()), LoadBook()
    for _ in range(MAX_REFUSALS):
        book.fail("a", "m", code="no_room", message="in turn", now_s=90.0, retry_in_s=1.0)
    book.fail("a", "m", code=code, message="it is on device 1", now_s=100.0)
    assert isinstance(choose(model, a_roster("a"), book), Wait)


def test_a_refusal_names_the_failure_that_still_holds_a_node_off_and_says_when_that_is_over() -> None:
    """Not a later one that is over, of a node on which somebody is pinned by now: nothing will change there soon."""
    model, book, roster = Model("m", a_profile(vram_mb=20_000)), LoadBook(), a_roster("a", "b")
    pinned = a_report("other", pinned=True, devices=(0,), vram_used_mb=20_000, declared_mb=20_000)
    take_sample(roster, NodeSampled(node="b", health=a_health([4_000]), models=(pinned,), asked_s=2.0))
    for _ in range(MAX_REFUSALS):
        book.fail("a", "m", code="engine_exited", message="no luck", now_s=98.0)
    for _ in range(MAX_REFUSALS):
        book.fail("b", "m", code="stale", message="other is pinned", now_s=98.0)
    found = choose(model, roster, book)
    assert isinstance(found, Refusal)
    assert found.node == "a"
    assert "no luck" in found.error.message
    assert found.error.details["retry_in_s"] == 78.0


def test_old_failure_of_a_node_does_not_speak_for_one_that_is_down_now() -> None:
    book, roster = LoadBook(), a_roster("a")
    fail(book, "a")
    roster.lose("a", "refused")
    assert isinstance(refused(choose(Model("m", a_profile()), roster, book)), error.NoHealthyNode)


def test_found_model_that_only_a_lost_node_has_is_refused_for_now() -> None:
    roster = a_roster("a", "b")
    take_sample(roster, NodeSampled(node="a", health=a_health(), models=(a_report("x"),), asked_s=2.0))
    roster.lose("a", "refused")
    found = refused(choose(Model("x"), roster))
    assert isinstance(found, error.NoHealthyNode)
    assert "a is not healthy" in found.message


def test_a_load_says_how_the_model_is_served_there_and_which_revision_that_is() -> None:
    profile = a_profile(source="m.gguf", variants={"vllm": Variant(source="hf:m")})
    there = load_request("m", profile, Placement(node="a", harness="fast", kind="vllm"))
    here = load_request("m", profile, Placement(node="a", harness="llamacpp", kind="llamacpp"))
    assert (there.source, here.source) == ("hf:m", "m.gguf")
    assert there.revision == revision_of(profile_for(profile, "fast", "vllm")) != here.revision
    assert load_request("m", None, Placement(node="a", harness="h")).revision is None

"""The dispatcher and changed catalogues: what is outdated, who gets it still, and when it leaves."""

from tests.unit.fleet.builder import Fleet, a_profile, a_report, an_endpoint, loads

from cortex.contract.instance import InstanceReport
from cortex.contract.profile import Profile
from cortex.fleet.effect import Effect, UnloadModel
from cortex.fleet.event import CatalogueChanged, LoadSucceeded, UnloadFinished
from cortex.fleet.renewal import ASK_AGAIN_S
from cortex.fleet.revision import revision_of

OLD = a_profile(source="/models/old.gguf")
NEW = a_profile(source="/models/new.gguf")


def unloads(effects: list[Effect]) -> list[str]:
    return [effect.node for effect in effects if isinstance(effect, UnloadModel)]


def by(profile: Profile, **keys: object) -> InstanceReport:
    return a_report(revision=revision_of(profile), **keys)


def a_fleet(*nodes: str) -> Fleet:
    """A fleet that has the model by the old catalogue on its first node."""
    fleet = Fleet(nodes, [OLD])
    fleet.now_s += 1
    fleet.sample(nodes[0], by(OLD))
    fleet.fetched(nodes[0])
    return fleet


def change(fleet: Fleet, profile: Profile = NEW) -> list[Effect]:
    return fleet.tell(CatalogueChanged((profile,)))


def test_running_requests_finish_and_new_ones_wait_for_the_new_revision() -> None:
    fleet = a_fleet("a")
    running = fleet.arrive()
    assert unloads(change(fleet)) == ["a"]
    late = fleet.arrive()
    assert running in fleet.answers
    assert late not in fleet.answers
    fleet.finish(running)
    fleet.now_s += 1
    assert loads(fleet.sample("a")) == ["a"]
    fleet.loaded("a", generation=2)
    assert fleet.grant(late).target.generation == 2


def test_new_revision_is_loaded_elsewhere_at_once_where_there_is_room() -> None:
    fleet = a_fleet("a", "b")
    change(fleet)
    assert loads(fleet.arrive_for("m")) == ["b"]


def test_change_that_needs_no_other_engine_replaces_nothing() -> None:
    fleet = a_fleet("a")
    assert unloads(change(fleet, a_profile(source="/models/old.gguf", priority=3, aliases=("x",)))) == []
    assert fleet.arrive("x") in fleet.answers


def test_change_that_is_taken_back_leaves_everything_as_it_was() -> None:
    fleet = a_fleet("a")
    change(fleet)
    change(fleet, OLD)
    assert fleet.arrive() in fleet.answers
    assert unloads(fleet.tick(ASK_AGAIN_S)) == []


def test_unload_that_fails_is_asked_for_again_later() -> None:
    fleet = a_fleet("a")
    change(fleet)
    fleet.tell(UnloadFinished(node="a", model="m", code="busy", message="x"))
    assert unloads(fleet.tick(ASK_AGAIN_S / 2)) == []
    assert unloads(fleet.tick(ASK_AGAIN_S)) == ["a"]


def test_what_a_gateway_finds_at_its_start_is_judged_too() -> None:
    fleet = Fleet(["a"], [NEW], is_up=False)
    fleet.discover("a")
    fleet.sample("a", by(OLD))
    assert unloads(fleet.tick()) == ["a"]


def test_what_another_gateway_loads_by_another_catalogue_is_used_as_it_is() -> None:
    fleet = Fleet(["a"], [NEW])
    fleet.now_s += 1
    fleet.sample("a", by(OLD))
    fleet.fetched("a")
    assert unloads(fleet.tick()) == []
    assert fleet.arrive() in fleet.answers


def test_load_that_was_under_way_when_the_catalogue_changed_is_outdated_when_it_ends() -> None:
    fleet = Fleet(["a"], [OLD])
    fleet.arrive()
    change(fleet)
    fleet.tell(
        LoadSucceeded(node="a", model="m", endpoint=an_endpoint(), asked_s=fleet.now_s, report=by(OLD, generation=1))
    )
    assert unloads(fleet.tick()) == ["a"]


def test_instance_that_no_catalogue_has_loaded_is_left_alone() -> None:
    fleet = Fleet(["a"], [OLD])
    fleet.ready("a")
    assert unloads(change(fleet)) == []
    assert fleet.arrive() in fleet.answers

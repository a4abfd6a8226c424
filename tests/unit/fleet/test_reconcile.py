"""What a neuron's word does to a replica."""

from tests.unit.fleet.builder import a_report, an_endpoint

from cortex.contract.instance import EndpointAnswer, InstanceReport
from cortex.fleet.model import Model
from cortex.fleet.reconcile import succeed, take_absence, take_endpoint, take_report
from cortex.fleet.replica import Replica


def a_replica(model: Model, *, generation: int = 1, learnt_s: float = 10.0) -> Replica:
    replica = succeed(model, "a", generation, learnt_s)
    replica.aim(an_endpoint(generation))
    replica.state = "ready"
    return replica


def report(
    model: Model,
    told: InstanceReport,
    *,
    asked_s: float = 20.0,
    is_new: bool = False,
    is_news: bool = True,
    is_here: bool = False,
) -> bool:
    return take_report(
        model, "a", told, asked_s=asked_s, now_s=20.0, is_new_life=is_new, is_news=is_news, is_load_here=is_here
    )


def test_first_word_of_a_loaded_model_makes_a_pending_replica_and_asks_once() -> None:
    model = Model("m")
    assert report(model, a_report(parallel=4))
    replica = model.replicas["a"]
    assert (replica.state, replica.parallel, replica.is_fetching) == ("pending", 4, True)
    assert not report(model, a_report(parallel=4))


def test_load_of_ours_brings_the_endpoint_itself() -> None:
    model = Model("m")
    assert not report(model, a_report(), is_here=True)
    assert not model.replicas["a"].is_fetching


def test_changed_parallel_is_taken_over() -> None:
    model = Model("m")
    replica = a_replica(model)
    assert not report(model, a_report(parallel=8))
    assert replica.limit == 8


def test_place_without_a_generation_is_asked_for_again_when_something_has_changed() -> None:
    model = Model("m")
    replica = a_replica(model, generation=0)
    assert not report(model, a_report(generation=0), is_news=False)
    assert report(model, a_report(generation=0))
    assert (replica.state, replica.is_fetching) == ("ready", True), "requests go on meanwhile"
    numbered = Model("n")
    a_replica(numbered)
    assert not report(numbered, a_report())


def test_pending_replica_that_starts_draining_is_asked_about_when_the_drain_is_undone() -> None:
    model = Model("m")
    report(model, a_report())
    model.replicas["a"].is_fetching = False
    report(model, a_report(status="draining"))
    assert model.replicas["a"].state == "draining"
    assert report(model, a_report())
    assert model.replicas["a"].state == "pending"


def test_suspicion_outlives_a_drain_that_was_undone() -> None:
    model = Model("m")
    replica = a_replica(model)
    replica.strike(15.0)
    report(model, a_report(status="draining"))
    assert report(model, a_report())
    assert replica.state == "suspected"


def test_drain_of_another_generation_ends_this_one() -> None:
    model = Model("m")
    a_replica(model, generation=1)
    report(model, a_report(status="draining", generation=2))
    assert model.replicas == {}


def test_old_sample_changes_nothing() -> None:
    model = Model("m")
    replica = a_replica(model, learnt_s=10.0)
    report(model, a_report(status="failed"), asked_s=9.9)
    take_absence(model, "a", asked_s=9.9)
    assert model.replicas == {"a": replica}
    take_absence(model, "a", asked_s=10.0)
    assert model.replicas == {}


def endpoint(replica: Replica, model: Model, told: EndpointAnswer, *, asked_s: float = 20.0) -> bool:
    replica.is_fetching = True
    return take_endpoint(replica, model, told, asked_s=asked_s, now_s=20.0)


def test_unnumbered_endpoint_means_the_listed_generation() -> None:
    model = Model("m")
    replica = succeed(model, "a", 7, 0.0)
    assert not endpoint(replica, model, an_endpoint(0))
    assert replica.aimed().generation == 7
    target = replica.aimed()
    endpoint(replica, model, an_endpoint(0))
    assert replica.aimed() is target


def test_word_that_comes_late_is_not_believed_and_asked_for_again() -> None:
    model = Model("m")
    replica = a_replica(model)
    replica.strike(19.0)
    assert endpoint(replica, model, an_endpoint(), asked_s=18.9)
    assert (replica.state, replica.is_fetching) == ("suspected", True)
    assert not endpoint(replica, model, an_endpoint(), asked_s=19.0)
    assert replica.state == "ready"


def test_endpoint_does_not_undo_a_drain() -> None:
    model = Model("m")
    replica = a_replica(model)
    replica.state = "draining"
    endpoint(replica, model, an_endpoint())
    assert replica.state == "draining"


def test_other_endpoint_is_another_replica_and_the_requests_of_the_first_run_on() -> None:
    model = Model("m")
    first = a_replica(model)
    first.in_flight = 1
    first.set_parallel(3)
    endpoint(first, model, an_endpoint(2))
    second = model.replicas["a"]
    assert second is not first
    assert (second.generation, second.parallel, second.state) == (2, 3, "ready")
    assert model.retired == [first]

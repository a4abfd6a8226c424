"""What a desk takes for news: versions, gaps, lives, and what is handed on of them."""

from random import Random

import pytest
from tests.unit.fleet.desk_builder import Neuron, report, use

from cortex.contract.event import NodeChange
from cortex.contract.instance import InstanceReport
from cortex.contract.lease import InstanceUse
from cortex.contract.node import HarnessHealth
from cortex.fleet.event import NodeMissed


def ids(reports: tuple[InstanceReport, ...]) -> list[str]:
    return [one.id for one in reports]


def test_first_answer_tells_of_everything_and_is_no_new_life() -> None:
    news = Neuron().answer(5, report("a"), report("b"), whole=True, devices=[0])
    assert news is not None
    assert (ids(news.reports), news.is_whole, news.is_new_life) == (["a", "b"], True, False)
    assert news.health is not None
    assert (news.health.event, news.health.sample_age_s, len(news.health.devices)) == (5, 1.0, 1)


def test_answer_without_changes_is_news_of_the_nodes_health_only() -> None:
    neuron = Neuron().holding()
    news = neuron.answer(6)
    assert news is not None
    assert (news.reports, news.gone, news.wants_discovery) == ((), (), False)
    assert news.health is not None


def test_only_what_is_otherwise_is_handed_on_of_a_snapshot() -> None:
    neuron = Neuron()
    neuron.answer(5, report("a"), report("b"), report("c"), whole=True)
    news = neuron.answer(9, report("a"), report("b", "draining"), whole=True)
    assert news is not None
    assert (ids(news.reports), news.gone) == (["b"], ("c",))


def test_older_answer_is_dropped_whole() -> None:
    neuron = Neuron().holding()
    neuron.change(7, report(status="draining"))
    assert neuron.answer(6, report(), slots={("m", 1): 9}) is None
    assert neuron.desk.listing.reports["m"].status == "draining"
    assert neuron.desk.slots_of("m", 1) == 4


def test_older_or_equal_change_is_dropped() -> None:
    neuron = Neuron().holding()
    assert neuron.change(6, report(status="draining")) is None
    assert neuron.change(3, report(status="draining"), whole=True) is None
    assert neuron.desk.listing.reports["m"].status == "loaded"


def test_next_change_is_taken() -> None:
    news = Neuron().holding().change(7, report(status="draining"), gone=["unknown"])
    assert news is not None
    assert (ids(news.reports), news.gone, news.health) == (["m"], (), None)


def test_gap_is_mended_by_a_report_before_anything_else_is_taken() -> None:
    neuron = Neuron().holding()
    assert neuron.change(8, report("late")) is None
    assert neuron.desk.wants_post
    assert neuron.post(use()).seen_event == 6, "all after it is told"
    assert neuron.change(9, report("later")) is None


def test_answer_that_was_under_way_may_mend_a_gap_and_else_another_report_does() -> None:
    for event, is_mended in ((8, True), (7, False)):
        neuron = Neuron().holding()
        post = neuron.post(use())
        neuron.change(8)
        neuron.answer(event, post=post)
        assert neuron.desk.wants_post is not is_mended
        neuron.answer(event)
        assert not neuron.desk.wants_post, "one report after it must do"


def test_new_life_is_told_whole_and_calls_for_a_report_and_a_discovery() -> None:
    neuron = Neuron().holding()
    news = neuron.change(2, report(), start_id="other", whole=True)
    assert news is not None
    assert (ids(news.reports), news.is_new_life, news.wants_discovery) == (["m"], True, True)
    assert neuron.desk.wants_post
    assert neuron.desk.slots_of("m", 1) == 4, "what it goes by is left to it"


def test_change_of_another_life_is_a_gap() -> None:
    neuron = Neuron().holding()
    assert neuron.change(7, report(), start_id="other") is None
    assert neuron.desk.wants_post
    assert neuron.desk.start_id == "life"


def test_life_that_is_over_is_not_heard_again() -> None:
    neuron = Neuron().holding()
    post, sent_s = neuron.post(use()), neuron.now_s
    neuron.now_s += 1
    neuron.change(2, start_id="other", whole=True)
    assert neuron.answer(99, report("old"), post=post, sent_s=sent_s) is None
    assert neuron.change(100, start_id="life", whole=True) is None
    assert neuron.desk.start_id == "other"
    assert neuron.desk.wants_post, "the new one has not heard of this gateway"


def test_two_neurons_behind_one_address_are_not_asked_in_a_circle() -> None:
    neuron = Neuron()
    neuron.answer(5, start_id="one", whole=True)
    neuron.now_s += 1
    neuron.answer(5, start_id="two", whole=True)
    neuron.now_s += 1
    neuron.answer(6, start_id="one", whole=True)
    assert not neuron.desk.wants_post


def test_answer_of_another_life_that_is_not_whole_is_not_believed() -> None:
    neuron = Neuron().holding()
    assert neuron.answer(7, report("x"), start_id="other") is None
    assert neuron.desk.start_id == "life"


def test_new_life_that_counts_its_generations_anew_is_believed() -> None:
    neuron = Neuron().holding(generation=9)
    neuron.answer(2, report(generation=1), start_id="other", whole=True)
    assert neuron.desk.listing.reports["m"].generation == 1
    neuron.desk.endpoint_taken("m", 1, 4, neuron.now_s)
    assert list(neuron.desk.held()) == [("m", 1)]


def test_servers_that_run_by_themselves_are_handed_on_whenever_something_changes() -> None:
    neuron = Neuron()
    neuron.answer(5, report("alone", generation=0), report("m"), whole=True)
    news = neuron.answer(6, report("n"))
    assert news is not None
    assert ids(news.reports) == ["n", "alone"]
    news = neuron.answer(6)
    assert news is not None
    assert news.reports == ()


def test_work_is_handed_on_until_it_is_over() -> None:
    neuron = Neuron().holding()
    news = neuron.answer(6, in_use=[InstanceUse(model_id="m", in_flight=2, idle_s=0.0)])
    assert news is not None
    assert [one.in_flight for one in news.reports] == [2]
    news = neuron.answer(6, in_use=[InstanceUse(model_id="m", in_flight=2, idle_s=0.0)])
    assert news is not None
    assert news.reports == (), "nothing is otherwise"
    news = neuron.answer(6)
    assert news is not None
    assert [one.in_flight for one in news.reports] == [0]


def test_changed_devices_harnesses_and_changes_of_nothing_known_call_for_a_discovery() -> None:
    neuron = Neuron()
    sick, well = HarnessHealth(name="h", kind="h", healthy=False), HarnessHealth(name="h", kind="h", healthy=True)
    neuron.answer(5, whole=True, devices=[0, 1], harnesses=[well])
    wants = []
    for news in (
        neuron.answer(5, devices=[0, 1], harnesses=[well]),
        neuron.answer(6, devices=[0]),
        neuron.answer(7, devices=[0], harnesses=[sick]),
        neuron.change(8, harnesses=[well]),
        neuron.change(9, report()),
        neuron.change(10),
        neuron.change(11, maintenance=True),
    ):
        assert news is not None
        wants.append(news.wants_discovery)
    assert wants == [False, True, True, True, False, True, False]


def test_maintenance_is_a_part_of_the_nodes_health() -> None:
    neuron = Neuron()
    neuron.answer(5, whole=True)
    news = neuron.change(6, maintenance=True)
    assert news is not None
    assert news.health is not None
    assert news.health.maintenance


def test_neuron_without_leases_is_sampled_and_gives_no_slots() -> None:
    neuron = Neuron()
    neuron.post()
    news = neuron.sample(0, report("a", parallel=3), report("b", parallel=None), start_id="")
    assert news is not None
    assert news.is_whole
    assert (neuron.desk.slots_of("a", 1), neuron.desk.slots_of("b", 1)) == (None, None)
    neuron.desk.endpoint_taken("a", 1, None, neuron.now_s)
    neuron.desk.turned_busy()
    assert list(neuron.desk.held()) == []
    assert not neuron.desk.wants_post


def test_sample_is_handed_on_whole_and_what_is_gone_twice() -> None:
    neuron = Neuron()
    neuron.sample(5, report("a"), report("b"))
    for _ in range(2):
        news = neuron.sample(5, report("a"))
        assert news is not None
        assert (ids(news.reports), news.gone) == (["a"], ("b",))
    news = neuron.sample(5, report("a"))
    assert news is not None
    assert news.gone == ()


def test_older_sample_is_dropped() -> None:
    neuron = Neuron()
    neuron.sample(5, report("a"))
    assert neuron.sample(5, asked_s=neuron.now_s - 1) is None, "asked before"
    assert neuron.sample(4) is None
    neuron.sample(1, start_id="other")
    assert neuron.sample(9, start_id="life") is None


def test_neuron_that_learns_of_leases_is_taken_at_its_word() -> None:
    neuron = Neuron()
    neuron.sample(5, report())
    neuron.answer(2, report(), start_id="other", whole=True)
    assert neuron.desk.slots_of("m", 1) == 0


@pytest.mark.parametrize("misses", [1, 3])
def test_node_is_unhealthy_after_so_many_misses_in_a_row(misses: int) -> None:
    neuron = Neuron(misses=misses)
    neuron.answer(5, whole=True)
    assert [neuron.miss() for _ in range(misses)] == [False] * (misses - 1) + [True]
    assert not neuron.desk.live.is_healthy
    neuron.answer(5)
    assert neuron.desk.live.is_healthy


def test_stream_that_goes_on_keeps_a_busy_node_alive() -> None:
    neuron = Neuron().holding()
    neuron.miss()
    neuron.miss()
    neuron.change(7, report(status="draining"))
    assert not neuron.miss()
    assert neuron.desk.live.is_healthy


def test_stream_of_a_node_that_is_back_calls_for_a_report() -> None:
    neuron = Neuron().holding()
    neuron.miss(is_certain=True)
    neuron.now_s += 5
    neuron.change(6, whole=True)
    assert neuron.desk.wants_post
    assert not neuron.desk.live.is_healthy, "it is not asked yet how it is"


def test_discovery_that_fails_is_no_miss_and_is_asked_for_with_the_next_poll() -> None:
    neuron = Neuron(misses=1).holding()
    post = neuron.post(use())
    neuron.desk.asks_discovery(neuron.now_s + 60)
    assert not neuron.desk.missed(NodeMissed("a", "no", is_discovery=True), neuron.now_s)
    assert neuron.desk.live.is_healthy
    assert neuron.desk.post((), neuron.now_s) is None, "the report is under way still"
    neuron.answer(6, post=post)
    assert neuron.desk.asks_discovery(neuron.now_s + 61)


def test_what_was_seen_ahead_is_not_contradicted_by_what_was_told_before() -> None:
    neuron = Neuron()
    neuron.answer(5, report(status="unloaded", generation=0), whole=True)
    assert neuron.desk.seen(report(generation=3), neuron.now_s)
    assert not neuron.desk.seen(report(generation=3), neuron.now_s)
    neuron.change(6, report(status="loading", generation=3))
    assert neuron.desk.listing.reports["m"].status == "loaded"
    neuron.change(7, report(status="failed", generation=3))
    assert neuron.desk.listing.reports["m"].status == "failed"


def history(rng: Random, length: int) -> list[NodeChange]:
    """Draw changes of three models, one after the other, with slots of one of them."""
    changes, generation = [], {"a": 1, "b": 1, "c": 1}
    for event in range(6, 6 + length):
        model = rng.choice("abc")
        generation[model] += rng.random() < 0.3
        status = rng.choice(["loading", "loaded", "draining"])
        changes.append(
            NodeChange(
                start_id="life",
                event=event,
                models=(report(model, status, generation[model]),),  # type: ignore[arg-type]
            )
        )
    return changes


@pytest.mark.parametrize("seed", range(40))
def test_however_messages_are_late_doubled_and_lost_the_newest_state_is_reached_and_never_left(seed: int) -> None:
    rng, neuron = Random(seed), Neuron()
    neuron.answer(5, report("a"), report("b"), report("c"), whole=True)
    changes, seen = history(rng, 30), [5]
    mail = [change for change in changes for _ in range(rng.randint(0, 2))]
    for position, change in enumerate(mail):
        other = min(len(mail) - 1, position + rng.randint(0, 5))
        mail[position], mail[other] = mail[other], change
    for change in mail:
        if rng.random() < 0.3:
            upto = rng.randrange(len(changes))
            state = {one.models[0].id: one.models[0] for one in changes[: upto + 1]}
            told = tuple(state.values())
            neuron.answer(changes[upto].event, *told, whole=rng.random() < 0.2 and len(told) == 3)
        else:
            neuron.change(change.event, *change.models)
        seen.append(neuron.desk.event)
    last = {one.models[0].id: one.models[0] for one in changes}
    neuron.answer(changes[-1].event, *last.values())
    assert seen == sorted(seen)
    reached = neuron.desk.listing.reports
    assert {model: reached[model].generation for model in last} == {m: one.generation for m, one in last.items()}

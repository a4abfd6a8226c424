"""What a node has, and what of it is news."""

from tests.unit.fleet.desk_builder import report

from cortex.contract.instance import InstanceReport
from cortex.contract.lease import InstanceUse
from cortex.fleet.listing import Listing


def entered(*models: InstanceReport) -> Listing:
    listing = Listing()
    listing.enter(models, (), 100.0, is_whole=True, is_new_life=False)
    return listing


def test_what_is_the_same_is_no_news_unless_it_is_a_new_life() -> None:
    listing = entered(report("a"), report("b"))
    assert listing.enter([report("a")], (), 100.0, is_whole=False, is_new_life=False) == ([], [])
    changed, gone = listing.enter([report("a")], (), 100.0, is_whole=True, is_new_life=True)
    assert ([one.id for one in changed], gone) == (["a"], ["b"])
    assert list(listing.reports) == ["a"]


def test_what_is_told_to_be_gone_and_is_listed_again_is_not_gone() -> None:
    listing = entered(report("a"), report("b"))
    assert listing.enter([report("a")], ["a", "b", "c"], 100.0, is_whole=False, is_new_life=False) == ([], ["b"])


def test_spans_become_moments_of_this_hosts_clock() -> None:
    listing = entered(report("a", idle_s=5.0, protected_s=20.0), report("b"))
    assert (listing.worked_s, listing.safe_until_s) == ({"a": 95.0}, {"a": 120.0})
    listing.use([InstanceUse(model_id="a", in_flight=0, idle_s=1.0)], 110.0)
    assert listing.worked_s == {"a": 109.0}
    listing.enter([], ["a"], 112.0, is_whole=False, is_new_life=False)
    assert (listing.worked_s, listing.safe_until_s) == ({}, {})


def test_protection_ends_however_often_it_is_told_that_a_model_works() -> None:
    listing = entered(report("a", idle_s=5.0, protected_s=20.0))
    listing.use([InstanceUse(model_id="a", in_flight=1, idle_s=0.0)], 110.0)
    listing.use([InstanceUse(model_id="a", in_flight=2, idle_s=0.0)], 118.0)
    assert listing.safe_until_s == {"a": 120.0}


def test_model_of_whose_work_nothing_is_told_any_more_last_worked_when_it_was_told() -> None:
    listing = entered(report("a"))
    listing.use([InstanceUse(model_id="a", in_flight=1, idle_s=0.0, waiting=3)], 110.0)
    assert (listing.reports["a"].in_flight, listing.reports["a"].waiting) == (1, 3)
    (quiet,) = listing.use([], 160.0)
    assert (quiet.in_flight, quiet.waiting) == (0, 0)
    assert listing.worked_s == {"a": 110.0}
    listing.use([InstanceUse(model_id="a", in_flight=0, idle_s=50.0, waiting=1)], 170.0)
    assert [(one.in_flight, one.waiting) for one in listing.use([], 171.0)] == [(0, 0)], "nor waits anybody"


def test_use_of_what_is_not_listed_is_passed_over() -> None:
    listing = entered(report("a"))
    assert listing.use([InstanceUse(model_id="x", in_flight=1, idle_s=0.0)], 100.0) == []


def test_what_was_seen_is_not_older_than_what_is_known() -> None:
    listing = entered(report("a", generation=3))
    assert not listing.see(report("a", "loading", 3), 100.0)
    assert not listing.see(report("a", generation=2), 100.0)
    assert listing.see(report("a", generation=4), 100.0)
    assert listing.see(report("b"), 100.0)


def test_loaded_ones_without_a_generation_run_by_themselves() -> None:
    listing = entered(report("a", generation=0), report("b", "failed", 0), report("c"))
    assert [one.id for one in listing.alone()] == ["a"]
    listing.enter([report("a", "failed", 0)], (), 100.0, is_whole=False, is_new_life=False)
    assert listing.alone() == []

"""How the slots of one generation go round: all with one, shared when somebody waits, never more than there are."""

import pytest

from cortex.residency.holding import Said
from cortex.residency.leased_generation import MAX_ORPHANS, LeasedGeneration, Serving

SETTLE_S = 10.0
TTL_S = 40.0
LOADED = Serving("m", 1, 4)
FOUND = LOADED._replace(held_before=frozenset({"gone"}))
"""Found running, and somebody held it who is not heard."""


class Desk:
    """One generation with four slots, and a number for every change."""

    def __init__(self, serving: Serving = LOADED) -> None:
        self.generation = LeasedGeneration(serving)
        self.event = 10
        self.now_s = 0.0

    def say(
        self, gateway: str, in_flight: int = 0, waiting: int = 0, *, wait_s: float = 1.0, seen: int | None = None,
        claim: int = 0,
    ) -> None:  # fmt: skip
        """Let a gateway report; it has seen every change unless the test says otherwise."""
        holding = self.generation.renew(gateway, self.now_s, self.event + 1)
        holding.claim = claim
        event = self.event if seen is None else seen
        said = Said(in_flight, waiting, wait_s)
        holding.report(said, seen_event=event, now_s=self.now_s, settle_s=SETTLE_S)

    def share(self) -> dict[str, int]:
        """Divide the slots and return who was told what."""
        if self.generation.share(self.now_s, SETTLE_S, self.event + 1):
            self.event += 1
        return self.told

    @property
    def told(self) -> dict[str, int]:
        return {key: holding.told for key, holding in sorted(self.generation.holdings.items())}

    @property
    def held(self) -> int:
        return sum(holding.held for holding in self.generation.holdings.values())


def test_a_single_gateway_has_them_all() -> None:
    desk = Desk()
    desk.say("a")
    assert desk.share() == {"a": 4}
    event = desk.event
    desk.say("a", 4, waiting=9)
    assert desk.share() == {"a": 4}
    assert desk.event == event


def test_a_second_gateway_gets_none_until_somebody_waits_there() -> None:
    desk = Desk()
    desk.say("a")
    desk.share()
    desk.say("b")
    assert desk.share() == {"a": 4, "b": 0}


def test_gateways_that_come_together_divide_what_nobody_needs() -> None:
    desk = Desk()
    for gateway in "abc":
        desk.say(gateway)
    assert desk.share() == {"a": 2, "b": 1, "c": 1}


def test_an_idle_slot_is_called_back_and_given_once_its_holder_knows() -> None:
    desk = Desk()
    desk.say("a", 1)
    desk.share()
    before = desk.event
    desk.say("b", waiting=2)
    assert desk.share() == {"a": 2, "b": 0}
    desk.say("a", 1, seen=before)
    assert desk.share() == {"a": 2, "b": 0}
    desk.say("a", 1)
    assert desk.share() == {"a": 2, "b": 2}


def test_only_as_many_are_called_back_as_are_waited_for() -> None:
    desk = Desk()
    desk.say("a")
    desk.share()
    desk.say("b", waiting=1)
    assert desk.share() == {"a": 3, "b": 0}


def test_busy_slots_are_shared_as_they_come_free() -> None:
    desk = Desk()
    desk.say("a", 4, waiting=8)
    desk.share()
    desk.say("b", waiting=8)
    assert desk.share() == {"a": 2, "b": 0}
    desk.say("a", 4, waiting=8)
    assert desk.share() == {"a": 2, "b": 0}
    desk.say("a", 2, waiting=8)
    desk.generation.count(2, asked_s=desk.now_s)
    assert desk.share() == {"a": 2, "b": 2}


def test_the_last_slot_goes_by_turns_to_who_has_waited_longest() -> None:
    desk = Desk(LOADED._replace(parallel=1))
    desk.say("a", 1, waiting=1, wait_s=3.0)
    desk.share()
    desk.say("b", waiting=1, wait_s=5.0)
    assert desk.share() == {"a": 0, "b": 0}
    desk.say("a", 0, waiting=1, wait_s=4.0)
    desk.generation.count(0, asked_s=desk.now_s)
    assert desk.share() == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    ("count", "later_s", "given"),
    [
        pytest.param(None, 0.0, 0, id="at once nothing"),
        pytest.param(None, SETTLE_S - 0.1, 0, id="nothing before the time"),
        pytest.param(None, SETTLE_S, 4, id="after the time all"),
        pytest.param(4, 0.0, 0, id="nothing while the engine has them all"),
        pytest.param(3, 0.0, 1, id="one when the engine has one less"),
        pytest.param(0, 0.0, 4, id="all when the engine has none"),
    ],
)
def test_slots_of_ended_requests_are_free_when_the_engine_says_so_or_after_a_time(
    count: int | None, later_s: float, given: int
) -> None:
    desk = Desk()
    desk.say("a", 4)
    desk.share()
    desk.say("b", waiting=9)
    desk.say("a", 4, waiting=0)
    desk.share()
    desk.say("a", 0)
    if count is not None:
        desk.generation.count(count, asked_s=desk.now_s)
    desk.now_s += later_s
    desk.share()
    desk.say("a", 0)
    assert desk.share()["b"] == given


def test_a_count_that_was_asked_for_before_says_nothing() -> None:
    desk = Desk()
    desk.say("a", 2)
    desk.now_s = 1.0
    desk.say("a", 0)
    desk.generation.count(0, asked_s=0.5)
    assert desk.generation.debris == 2
    desk.generation.count(0, asked_s=1.0)
    assert desk.generation.debris == 0


def test_slots_of_a_lease_that_has_ended_come_free_by_the_engines_count() -> None:
    desk = Desk()
    desk.say("a", 2)
    desk.share()
    desk.now_s = TTL_S / 2
    desk.say("b", waiting=4)
    desk.now_s = TTL_S
    desk.generation.expire(desk.now_s, TTL_S)
    assert desk.share() == {"b": 0}
    desk.generation.count(2, asked_s=desk.now_s)
    assert desk.share() == {"b": 2}
    desk.now_s += 1000
    assert desk.share() == {"b": 2}, "an engine that counts says itself when they are over"
    desk.generation.count(0, asked_s=desk.now_s)
    assert desk.share() == {"b": 4}


def test_slots_of_a_lease_that_has_ended_come_free_by_time_where_the_engine_does_not_count() -> None:
    desk = Desk()
    desk.say("a", 2)
    desk.share()
    desk.generation.expire(TTL_S, TTL_S)
    desk.now_s = TTL_S
    desk.say("b", waiting=1)
    assert desk.share() == {"b": 0}
    desk.now_s += SETTLE_S
    assert desk.share() == {"b": 4}


def test_requests_of_a_lease_that_has_ended_are_under_way_until_the_engine_has_none() -> None:
    desk = Desk()
    desk.say("a", 2)
    desk.say("b", 1)
    desk.generation.end("a", in_order=False, now_s=5.0)
    assert desk.generation.in_flight == 3
    desk.generation.count(0, asked_s=4.0)
    assert desk.generation.in_flight == 2, "b's alone are over, a was not gone yet"
    desk.generation.count(1, asked_s=6.0)
    assert desk.generation.in_flight == 3
    desk.generation.count(0, asked_s=6.0)
    assert desk.generation.in_flight == 0


def test_requests_of_a_lease_that_has_ended_are_over_by_time_where_the_engine_does_not_count() -> None:
    desk = Desk()
    desk.say("a", 2)
    desk.generation.end("a", in_order=False, now_s=5.0)
    desk.now_s = 5.0 + SETTLE_S - 0.1
    desk.share()
    assert desk.generation.in_flight == 2
    desk.now_s += 0.1
    desk.share()
    assert desk.generation.in_flight == 0


def test_a_gateway_that_comes_back_tells_itself_what_it_has_under_way() -> None:
    desk = Desk()
    desk.say("a", 2)
    desk.generation.end("a", in_order=False, now_s=5.0)
    desk.say("a", 1)
    assert desk.generation.in_flight == 1


def test_gateways_that_have_gone_are_remembered_one_by_one_only_up_to_a_number() -> None:
    desk = Desk()
    for number in range(3 * MAX_ORPHANS):
        desk.say(f"g{number}", 1)
        desk.generation.end(f"g{number}", in_order=True, now_s=0.0)
    assert desk.generation.in_flight == 3 * MAX_ORPHANS
    assert len(desk.generation._orphans) == MAX_ORPHANS + 1


def test_what_leaves_in_order_leaves_its_idle_slots_at_once() -> None:
    desk = Desk()
    desk.say("a", 1)
    desk.share()
    desk.say("b", waiting=4)
    desk.generation.end("a", in_order=True, now_s=desk.now_s)
    assert desk.share() == {"b": 3}


def test_nothing_moves_while_it_drains() -> None:
    desk = Desk()
    desk.say("a")
    desk.share()
    desk.generation.serve(LOADED._replace(is_draining=True), 11)
    desk.say("b", waiting=4)
    assert desk.share() == {"a": 4, "b": 0}
    desk.generation.serve(LOADED, 12)
    assert desk.share() == {"a": 0, "b": 0}


def test_an_engine_without_a_limit_has_no_slots() -> None:
    desk = Desk(LOADED._replace(parallel=None))
    desk.say("a", waiting=3)
    assert desk.share() == {"a": 0}


def test_while_others_may_be_unheard_everybody_keeps_what_it_claims_and_nobody_gets_more() -> None:
    desk = Desk(FOUND)
    desk.say("a", claim=3)
    desk.say("b")
    assert desk.share() == {"a": 3, "b": 0}
    desk.say("c", claim=9)
    assert desk.share() == {"a": 3, "b": 0, "c": 1}, "claims go no further than there are slots"
    desk.generation.forget_unheard()
    assert desk.share() == {"a": 3, "b": 0, "c": 1}


def test_while_others_may_be_unheard_idle_slots_that_were_claimed_go_to_who_waits_and_the_others_stay() -> None:
    desk = Desk(FOUND)
    desk.say("a", claim=2)
    desk.say("b", waiting=4)
    assert desk.share() == {"a": 0, "b": 0}, "called back, and not given before its holder knows"
    desk.say("a", claim=2)
    assert desk.share() == {"a": 0, "b": 2}, "two that nobody has claimed may be with somebody unheard"
    desk.say("a", claim=2)
    assert desk.share() == {"a": 0, "b": 2}, "a claim counts once"
    desk.generation.forget_unheard()
    assert desk.share() == {"a": 0, "b": 4}


def test_never_more_than_there_are_may_be_in_use_whatever_is_said() -> None:
    desk = Desk()
    for step in range(200):
        gateway = "abc"[step * 7 % 3]
        told = desk.told.get(gateway, 0)
        desk.say(gateway, min(told, step % 5), waiting=step * 5 % 4, wait_s=step % 3, seen=desk.event - step % 2)
        desk.share()
        desk.generation.count(sum(h.in_flight for h in desk.generation.holdings.values()), asked_s=desk.now_s)
        desk.now_s += 1
        assert desk.held <= 4

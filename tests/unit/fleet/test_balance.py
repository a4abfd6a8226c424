"""Which replica gets a request: the least loaded one, or the one that has the conversation while that is bearable."""

from collections import Counter
from random import Random

import pytest

from cortex.fleet.balance import load_of, pick
from cortex.fleet.effect import Target
from cortex.fleet.replica import Replica


def a_replica(node: str, *, tokens: int = 0, in_flight: int = 0, limit: int = 1 << 60) -> Replica:
    replica = Replica("m", node, 1, 0.0)
    replica.target = Target(node=node, model="m", generation=1, url="http://x", engine_model="m")
    replica.tokens_in_flight, replica.in_flight, replica.limit = tokens, in_flight, limit
    return replica


def replicas(*tokens: int) -> list[Replica]:
    return [a_replica(f"n{number}", tokens=count) for number, count in enumerate(tokens)]


def heads(count: int) -> list[bytes]:
    return [b"conversation %d" % number for number in range(count)]


def test_the_one_with_the_fewest_tokens_in_flight_is_picked() -> None:
    ready = replicas(900, 100, 500)
    assert pick(ready) is ready[1]


def test_a_request_weighs_something_besides_its_tokens() -> None:
    many, few = a_replica("many", in_flight=9), a_replica("few", tokens=1000, in_flight=1)
    assert load_of(many) > load_of(few)
    assert pick([many, few]) is few


def test_equals_take_turns() -> None:
    ready = replicas(0, 0, 0)
    assert Counter(pick(ready, turn=turn).node for turn in range(30)) == {"n0": 10, "n1": 10, "n2": 10}  # type: ignore[union-attr]


def test_a_full_one_is_not_picked_and_neither_is_one_that_is_avoided() -> None:
    full, avoided, loaded = a_replica("full", in_flight=1, limit=1), a_replica("avoided"), a_replica("x", tokens=99_999)
    assert avoided.target is not None
    for head in (b"", *heads(20)):
        assert pick([full, avoided, loaded], (avoided.target,), head) is loaded
        assert pick([full, avoided], (avoided.target,), head) is None
    assert pick([]) is None


def test_a_conversation_goes_where_it_was_before() -> None:
    ready = replicas(0, 0, 0)
    for head in heads(50):
        assert len({pick(ready, head=head, turn=turn).node for turn in range(6)}) == 1  # type: ignore[union-attr]


def test_conversations_are_spread_evenly() -> None:
    ready = replicas(0, 0, 0, 0)
    counts = Counter(pick(ready, head=head).node for head in heads(4000))  # type: ignore[union-attr]
    assert all(900 < count < 1100 for count in counts.values())


def test_a_replica_that_comes_takes_its_share_and_moves_nothing_else() -> None:
    before, after = replicas(0, 0, 0), replicas(0, 0, 0, 0)
    moved = [head for head in heads(1000) if pick(before, head=head).node != pick(after, head=head).node]  # type: ignore[union-attr]
    assert {pick(after, head=head).node for head in moved} == {"n3"}  # type: ignore[union-attr]
    assert 200 < len(moved) < 300


def test_only_the_head_of_a_conversation_counts() -> None:
    ready = replicas(0, 0, 0)
    begin = b"x" * 4096
    assert len({pick(ready, head=begin + head).node for head in heads(30)}) == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("least", "more", "stays"),
    [
        (0, 5000, True),
        (0, 5001, False),
        (100_000, 50_000, True),
        (100_000, 50_001, False),
    ],
    ids=["what moving costs", "more than that", "half as much again", "more than that of a lot"],
)
def test_a_conversation_leaves_its_replica_when_waiting_there_costs_more_than_reading_it_again(
    least: int, more: int, stays: bool
) -> None:
    ready = replicas(least, least)
    for head in heads(20):
        favourite = pick(replicas(0, 0), head=head)
        assert favourite is not None
        busy = next(replica for replica in ready if replica.node == favourite.node)
        busy.tokens_in_flight = least + more
        assert (pick(ready, head=head, tokens=5000) is busy) == stays
        busy.tokens_in_flight = least


def test_a_conversation_whose_replica_is_full_goes_to_the_least_loaded_one() -> None:
    for head in heads(20):
        ready = replicas(0, 0, 0)
        favourite = pick(ready, head=head)
        assert favourite is not None
        favourite.in_flight = favourite.limit = 3
        others = [replica for replica in ready if replica is not favourite]
        others[0].tokens_in_flight = 500
        assert pick(ready, head=head) is others[1]


@pytest.mark.parametrize("seed", range(10))
def test_under_any_load_nobody_is_far_above_the_least_loaded_who_can_be_picked(seed: int) -> None:
    """One conversation alone cannot overload a replica, whatever its requests weigh."""
    rng = Random(seed)
    ready, running = replicas(0, 0, 0), []
    for turn in range(2000):
        if running and rng.random() < 0.45:
            replica, tokens = running.pop(rng.randrange(len(running)))
            replica.in_flight -= 1
            replica.tokens_in_flight -= tokens
        tokens, least = rng.randint(0, 4000), min(map(load_of, ready))
        replica = pick(ready, head=rng.choice([b"", b"the one", b"the one"]), turn=turn, tokens=tokens)
        assert replica is not None
        assert load_of(replica) - least <= max(tokens, 0.5 * least)
        replica.in_flight += 1
        replica.tokens_in_flight += tokens
        running.append((replica, tokens))

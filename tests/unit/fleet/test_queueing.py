"""The fair queue: whose turn it is, how long anybody waits, and that it is what it says, however it is used."""

import sys
from collections import Counter
from collections.abc import Callable
from itertools import count, islice
from random import Random

import pytest
from tests.unit.fleet.queue_reference import SlowQueue

from cortex.fleet.balance import pick
from cortex.fleet.effect import Target
from cortex.fleet.queueing import LEAST_TOKENS, Queue, QueueBound, Rival, Waiting, order_of
from cortex.fleet.replica import Replica

tickets = count(1)


def a_waiter(caller: str = "c", *, tokens: int = 1000, since_s: float | None = None, **keys: object) -> Waiting:
    ticket = next(tickets)
    avoid = keys.pop("avoid", ())
    since = float(ticket) if since_s is None else since_s
    return Waiting(ticket, "m", avoid, since, caller=caller, tokens=tokens, **keys)  # type: ignore[arg-type]


def a_replica(node: str = "a", limit: int = 1 << 60) -> Replica:
    replica = Replica("m", node, 1, 0.0)
    replica.target = Target(node=node, model="m", generation=1, url="http://x", engine_model="m")
    replica.limit = limit
    return replica


def a_queue(*waiters: Waiting) -> Queue:
    queue = Queue()
    for waiting in waiters:
        queue.add(waiting)
    return queue


def picks(*replicas: Replica) -> Callable[[Waiting], Replica | None]:
    return lambda waiting: pick(replicas, waiting.avoid)


def served(queue: Queue, *replicas: Replica, grants: int | None = None) -> list[Waiting]:
    """Serve as the dispatcher does: every grant is counted before the next one is looked for."""
    found = []
    for waiting, replica in islice(queue.serve(picks(*(replicas or (a_replica(),)))), grants):
        replica.in_flight += 1
        found.append(waiting)
    return found


def callers(waiters: list[Waiting]) -> str:
    return "".join(waiting.caller for waiting in waiters)


# the line


def test_one_callers_requests_are_served_in_order_of_arrival() -> None:
    waiters = [a_waiter() for _ in range(5)]
    assert served(a_queue(*waiters)) == waiters


def test_who_is_served_has_left_the_queue() -> None:
    queue = a_queue(a_waiter(), a_waiter(), a_waiter())
    assert len(served(queue, a_replica(limit=2))) == 2
    assert len(queue) == 1
    assert served(queue, a_replica(limit=0)) == []
    assert len(queue) == 1


@pytest.mark.parametrize("seed", range(20))
def test_who_is_next_is_told_as_it_will_be_and_nothing_is_changed_by_it(seed: int) -> None:
    rng = Random(seed)
    queue = a_queue(*(a_waiter(rng.choice("abc"), tokens=rng.choice((1, 500, 4000))) for _ in range(30)))
    served(queue, a_replica(), grants=rng.randrange(10))
    told = queue.upcoming(1000)
    assert queue.upcoming(5) == told[:5]
    assert served(queue) == told


def test_the_oldest_is_known_also_when_older_ones_come_later() -> None:
    queue = a_queue(a_waiter(since_s=5.0), a_waiter(since_s=2.0), a_waiter(since_s=9.0), a_waiter(since_s=2.0))
    assert [waiting.since_s for waiting in queue.values()] == [2.0, 2.0, 5.0, 9.0]
    assert queue.oldest_since_s() == 2.0
    assert [waiting.since_s for waiting in served(queue)] == [2.0, 2.0, 5.0, 9.0]
    assert queue.oldest_since_s() is None


def test_who_leaves_is_not_served() -> None:
    first, second = a_waiter(), a_waiter()
    queue = a_queue(first, second)
    assert queue.remove(first.ticket) is first
    assert queue.remove(first.ticket) is None
    assert served(queue) == [second]


def test_a_thousand_that_come_and_leave_leave_nothing_behind() -> None:
    queue = Queue()
    for number in range(10_000):
        waiting = a_waiter(str(number), patience_s=1e9)
        queue.add(waiting)
        queue.remove(waiting.ticket)
    assert len(queue) == 0
    assert list(queue.values()) == served(queue) == queue.overdue(1e12, 0.0) == []
    assert len(queue._callers) < 200
    assert len(queue._order) < 200
    assert len(queue._deadlines) < 200


# patience


def test_everybody_has_a_patience_of_their_own_or_the_usual_one() -> None:
    hasty, usual, patient = (a_waiter(since_s=0.0, patience_s=patience) for patience in (3.0, None, 50.0))
    late = a_waiter(since_s=4.0)
    queue = a_queue(hasty, usual, patient, late)
    assert queue.overdue(2.9, 10.0) == []
    assert queue.overdue(3.0, 10.0) == [hasty]
    assert queue.overdue(3.0, 10.0) == [hasty], "it is late until it is taken away"
    queue.remove(hasty.ticket)
    assert queue.overdue(10.0, 10.0) == [usual]
    assert queue.overdue(60.0, 10.0) == [usual, patient, late]


# bounds


def test_a_newcomer_is_refused_for_its_own_number_and_for_everybodys() -> None:
    bound = QueueBound(max_waiting=4, max_waiting_per_caller=2)
    queue = a_queue(a_waiter("a"))
    assert queue.refusal_for(a_waiter("a"), bound) is None
    queue.add(a_waiter("a"))
    assert queue.refusal_for(a_waiter("a"), bound) == "caller_full"
    assert queue.refusal_for(a_waiter("b"), bound) is None
    queue.add(a_waiter("b"))
    queue.add(a_waiter("c"))
    assert queue.refusal_for(a_waiter("b"), bound) == "full"
    assert queue.refusal_for(a_waiter("a"), bound) == "caller_full", "what is its own doing is told first"


def test_who_is_not_known_by_name_has_no_bound_of_its_own() -> None:
    queue = a_queue(a_waiter(""), a_waiter(""))
    assert queue.refusal_for(a_waiter(""), QueueBound(max_waiting=9, max_waiting_per_caller=1)) is None


# fairness


def test_callers_take_turns_however_many_requests_each_has() -> None:
    queue = a_queue(*(a_waiter("a") for _ in range(6)), *(a_waiter("b") for _ in range(2)), a_waiter("c"))
    assert callers(served(queue)) == "abcabaaaa"


def test_who_asks_for_more_at_a_time_is_served_less_often() -> None:
    queue = a_queue(*(a_waiter("a", tokens=4000) for _ in range(4)), *(a_waiter("b", tokens=1000) for _ in range(16)))
    assert callers(served(queue)) == "abbbb" * 4


def test_the_shortest_question_counts_for_something() -> None:
    queue = a_queue(
        *(a_waiter("a", tokens=0) for _ in range(8)), *(a_waiter("b", tokens=4 * LEAST_TOKENS) for _ in range(2))
    )
    assert callers(served(queue)) == "abaaabaaaa"


def test_being_away_earns_nothing() -> None:
    queue = a_queue(a_waiter("back"), *(a_waiter("busy") for _ in range(60)))
    served(queue, grants=41)
    for _ in range(10):
        queue.add(a_waiter("back"))
    assert callers(served(queue, grants=8)) in ("backbusy" * 4, "busyback" * 4)


def test_what_one_has_had_too_much_is_remembered_while_others_wait() -> None:
    queue = a_queue(*(a_waiter("b") for _ in range(9)), a_waiter("a", tokens=5000))
    assert callers(served(queue, grants=2)) == "ba"
    queue.add(a_waiter("a"))
    assert callers(served(queue)).index("a") >= 4


@pytest.mark.parametrize("seed", range(20))
def test_callers_that_always_wait_get_the_same_tokens(seed: int) -> None:
    rng = Random(seed)
    names = "abcde"[: rng.randint(2, 5)]
    sizes = {name: rng.choice([300, 1000, 8000]) for name in names}
    queue, had = Queue(), Counter(dict.fromkeys(names, 0))
    for name in names:
        for _ in range(rng.randint(2, 30)):
            queue.add(a_waiter(name, tokens=rng.randint(256, sizes[name])))
    for _ in range(500):
        (waiting,) = served(queue, grants=1)
        if waiting.caller in sizes:
            had[waiting.caller] += waiting.tokens
            queue.add(a_waiter(waiting.caller, tokens=rng.randint(256, sizes[waiting.caller])))
        if rng.random() < 0.3:
            queue.add(a_waiter(f"guest {rng.random()}", tokens=rng.randint(256, 8000)))
        for one in names:
            for other in names:
                assert abs(had[one] - had[other]) <= sizes[one] + sizes[other]


def test_an_endless_stream_of_newcomers_does_not_starve_who_waits() -> None:
    queue = a_queue(a_waiter("old", tokens=5000), a_waiter("old", tokens=5000))
    for _ in range(12):
        queue.add(a_waiter(f"new {next(tickets)}"))
        queue.add(a_waiter(f"new {next(tickets)}"))
        served(queue, grants=1)
    before = [waiting for waiting in queue.values() if waiting.caller == "old"]
    for _ in range(100):
        queue.add(a_waiter(f"new {next(tickets)}"))
        served(queue, grants=1)
    assert len(before) == 1
    assert not [waiting for waiting in queue.values() if waiting.caller == "old"]


# those that avoid something


def test_who_avoids_a_target_is_passed_over_and_nobody_else_is() -> None:
    replica = a_replica()
    shy = a_waiter("a", avoid=(replica.target,))
    bold, other = a_waiter("a"), a_waiter("b")
    queue = a_queue(shy, bold, other)
    assert served(queue, replica) == [bold, other]
    assert list(queue.values()) == [shy]
    assert served(queue, replica, a_replica("elsewhere")) == [shy]


def test_a_caller_that_was_passed_over_is_served_before_those_that_were_not() -> None:
    replica = a_replica(limit=3)
    shy = [a_waiter("a", avoid=(replica.target,)) for _ in range(3)]
    queue = a_queue(*shy, *(a_waiter("b") for _ in range(6)))
    assert callers(served(queue, replica)) == "bbb"
    assert callers(served(queue, a_replica("elsewhere"))) == "aaabbb"


def test_nobody_is_asked_for_twice_when_nothing_is_free() -> None:
    asked: list[Waiting] = []
    queue = a_queue(*(a_waiter(str(number % 7)) for number in range(50)))

    def nothing(waiting: Waiting) -> None:
        asked.append(waiting)

    assert list(queue.serve(nothing)) == []
    assert len(asked) == 1
    assert len(queue) == 50


def test_a_pass_that_is_broken_off_loses_nobody() -> None:
    replica = a_replica()
    queue = a_queue(a_waiter("a", avoid=(replica.target,)), a_waiter("b"), a_waiter("c"))
    assert callers(served(queue, replica, grants=1)) == "b"
    assert callers(served(queue, a_replica("elsewhere"))) == "ac"


def test_who_comes_and_goes_between_two_grants_is_seen() -> None:
    queue = a_queue(a_waiter("a"), a_waiter("b"))
    grants = queue.serve(picks(a_replica()))
    assert next(grants)[0].caller == "a"
    gone, come = next(queue.values()), a_waiter("c")
    queue.add(come)
    queue.remove(gone.ticket)
    assert [waiting for waiting, _ in grants] == [come]


# against the reference


@pytest.mark.parametrize("seed", range(150))
def test_whatever_happens_it_does_what_the_plain_one_does(seed: int) -> None:
    rng = Random(seed)
    fast, slow = Queue(), SlowQueue()
    mine, theirs = ([a_replica(node, limit=0) for node in "xyz"] for _ in range(2))
    names = ["a", "b", "c", "d", ""] + [str(number) for number in range(rng.choice([0, 100]))]
    bound, now_s = QueueBound(max_waiting=30, max_waiting_per_caller=8), 100.0
    for _ in range(300):
        now_s += rng.random()
        act = rng.random()
        if act < 0.55:
            waiting = a_waiter(
                rng.choice(names),
                tokens=rng.choice([0, 300, 1000, 20_000]),
                since_s=now_s if rng.random() < 0.9 else now_s - 50 * rng.random(),
                patience_s=rng.choice([None, 5.0, 20.0, 80.0]),
                avoid=rng.choice([(), (), (), ("x",), ("y",), ("x", "y"), ("x", "y", "z")]),
            )
            assert fast.refusal_for(waiting, bound) == slow.refusal_for(waiting, bound)
            if fast.refusal_for(waiting, bound) is None:
                fast.add(waiting)
                slow.add(waiting)
        elif act < 0.65 and slow.waiters:
            gone = rng.choice(slow.waiters).ticket
            assert fast.remove(gone) is slow.remove(gone)
        elif act < 0.75:
            late = fast.overdue(now_s, 30.0)
            assert late == slow.overdue(now_s, 30.0)
            for waiting in late[: rng.randint(0, len(late))]:
                assert fast.remove(waiting.ticket) is slow.remove(waiting.ticket)
        else:
            for one, other in zip(mine, theirs, strict=True):
                one.limit = other.limit = one.in_flight + rng.choice([0, 0, 1, 3])
            grants = rng.choice([1, 2, 99])
            assert serve_by_node(fast, mine, grants) == [
                (ticket, replica.node) for ticket, replica in slow.serve(by_node(theirs), grants)
            ]
        assert list(fast.values()) == slow.values()
        assert len(fast) == len(slow.waiters)
        assert fast.oldest_since_s() == next((waiting.since_s for waiting in slow.values()), None)


def by_node(replicas: list[Replica]) -> Callable[[Waiting], Replica | None]:
    """Pick the first free one of those that are not avoided; targets are nodes here."""

    def free(waiting: Waiting) -> Replica | None:
        able = (one for one in replicas if one.in_flight < one.limit and one.node not in waiting.avoid)
        return next(able, None)

    return free


def serve_by_node(queue: Queue, replicas: list[Replica], grants: int) -> list[tuple[int, str]]:
    found = []
    for waiting, replica in islice(queue.serve(by_node(replicas)), grants):
        replica.in_flight += 1
        found.append((waiting.ticket, replica.node))
    return found


# cost


def calls_for(waiters: int, of_callers: int) -> int:
    """Count the calls that it takes to let so many in, look after them, and serve them one by one."""
    queue, replica = Queue(), a_replica(limit=1)
    newcomers = [a_waiter(str(number % of_callers), patience_s=1e6) for number in range(waiters)]
    calls = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for waiting in newcomers:
            queue.add(waiting)
        for _ in newcomers:
            queue.overdue(0.0, 1e6)
            served(queue, replica, grants=1)
            replica.in_flight = 0
    finally:
        sys.setprofile(None)
    assert len(queue) == 0
    return calls


@pytest.mark.parametrize("share", [1, 10, 500], ids=["each a caller", "ten of each", "all of one"])
def test_ten_times_as_many_cost_ten_times_as_much(share: int) -> None:
    assert calls_for(5000, 5000 // share) < 12 * calls_for(500, 500 // share)


# between models


def test_models_get_devices_by_priority_then_by_who_has_waited_longest() -> None:
    rivals = [
        Rival(model="late", queue_priority=0, oldest_since_s=90.0),
        Rival(model="early", queue_priority=0, oldest_since_s=80.0),
        Rival(model="dear", queue_priority=5, oldest_since_s=95.0),
        Rival(model="also early", queue_priority=0, oldest_since_s=80.0),
    ]
    assert order_of(rivals, now_s=100.0, starve_s=60.0) == ["dear", "also early", "early", "late"]


def test_who_has_waited_too_long_goes_before_any_priority() -> None:
    rivals = [
        Rival(model="dear", queue_priority=9, oldest_since_s=50.0),
        Rival(model="starved", queue_priority=-1, oldest_since_s=40.0),
        Rival(model="longer", queue_priority=-2, oldest_since_s=39.0),
        Rival(model="dear too", queue_priority=9, oldest_since_s=41.0),
    ]
    assert order_of(rivals, now_s=100.0, starve_s=60.0) == ["longer", "starved", "dear too", "dear"]


# priorities


def a_crowd(**priorities: int) -> Queue:
    waiters = [a_waiter(caller, priority=priority) for _ in range(40) for caller, priority in priorities.items()]
    return a_queue(*waiters)


def test_a_step_of_priority_doubles_a_callers_share_and_starves_nobody() -> None:
    shares = Counter(callers(served(a_crowd(a=0, b=1, c=-1), grants=35)))
    assert shares == {"b": 20, "a": 10, "c": 5}


def test_the_highest_priority_leaves_a_share_to_the_lowest() -> None:
    queue = a_crowd(a=10**6, b=-(10**6))
    order = callers(served(queue, grants=41))
    assert (order.count("a"), order.count("b")) == (40, 1)
    assert order.rindex("a") > 30


def test_who_comes_later_with_a_higher_priority_waits_less() -> None:
    queue = a_queue(*(a_waiter("a") for _ in range(10)))
    served(queue, grants=1)
    for _ in range(4):
        queue.add(a_waiter("b", priority=3))
    assert callers(served(queue, grants=5)).count("b") == 4
    assert [waiting.caller for waiting in queue.upcoming(3)] == ["a", "a", "a"]


def test_what_comes_next_is_told_as_it_will_be() -> None:
    queue = a_crowd(a=0, b=2)
    told = [waiting.ticket for waiting in queue.upcoming(20)]
    assert told == [waiting.ticket for waiting in served(queue, grants=20)]


def test_a_model_is_as_urgent_as_the_most_urgent_who_waits_for_it() -> None:
    queue = Queue()
    assert queue.priority() == 0
    low, high = a_waiter("a", priority=-2), a_waiter("b", priority=7)
    queue.add(low)
    assert queue.priority() == -2
    queue.add(high)
    assert queue.priority() == 7
    queue.remove(high.ticket)
    assert queue.priority() == -2
    queue.remove(low.ticket)
    assert queue.priority() == 0

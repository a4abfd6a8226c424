"""The circuit breaker of a replica: opens at once, lets one request probe, closes when that is answered."""

from random import Random

import pytest

from cortex.fleet.circuit import REST_FIRST_S, REST_MAX_S, Circuit, rest_s


def a_broken_one(now_s: float = 100.0) -> Circuit:
    circuit = Circuit()
    circuit.fail(now_s)
    return circuit


def test_a_closed_one_admits_everybody() -> None:
    circuit = Circuit()
    assert circuit.is_closed
    assert circuit.admits(0.0)
    assert not circuit.is_open(0.0)


def test_a_failure_opens_it_for_a_rest_and_then_for_one_at_a_time() -> None:
    circuit = a_broken_one()
    assert circuit.is_open(100.0 + REST_FIRST_S - 0.01)
    assert not circuit.admits(100.0 + REST_FIRST_S - 0.01)
    later_s = 100.0 + REST_FIRST_S
    assert circuit.admits(later_s)
    circuit.send(7)
    assert not circuit.admits(later_s + 1000)
    assert not circuit.is_open(later_s), "what fails now counts"


@pytest.mark.parametrize("how", ["answered", "over"])
def test_a_probe_that_is_answered_closes_it(how: str) -> None:
    circuit = a_broken_one()
    circuit.send(7)
    circuit.answer(8)
    circuit.end(8, is_cancelled=False)
    assert not circuit.is_closed, "somebody else's answer was begun before"
    if how == "answered":
        circuit.answer(7)
    else:
        circuit.end(7, is_cancelled=False)
    assert circuit.is_closed
    assert circuit.admits(101.0)
    circuit.fail(102.0)
    assert circuit.rest_until_s == 102.0 + REST_FIRST_S, "what was before is over"


def test_a_probe_whose_sender_left_says_nothing_and_the_next_one_goes() -> None:
    circuit = a_broken_one()
    circuit.send(7)
    circuit.end(7, is_cancelled=True)
    assert not circuit.is_closed
    assert circuit.admits(101.0)


def test_a_probe_that_fails_opens_it_for_longer() -> None:
    circuit = a_broken_one()
    circuit.send(7)
    circuit.fail(101.0)
    circuit.end(7, is_cancelled=False)  # its end follows its failure
    assert not circuit.is_closed
    assert circuit.rest_until_s == 101.0 + 2 * REST_FIRST_S
    assert circuit.admits(101.0 + 2 * REST_FIRST_S)


def test_what_was_sent_before_and_fails_now_makes_no_way_for_a_second_probe() -> None:
    circuit = a_broken_one()
    circuit.send(7)
    circuit.fail(101.0)
    assert not circuit.admits(110.0)
    circuit.answer(7)
    assert circuit.is_closed, "it answers now, whatever failed before"


def test_a_probe_may_end_without_a_verdict() -> None:
    circuit = a_broken_one()
    circuit.send(7)
    circuit.doubt()
    circuit.end(7, is_cancelled=False)
    assert not circuit.is_closed
    assert circuit.admits(101.0)


def test_rests_double_up_to_a_bound() -> None:
    assert [rest_s(failures) for failures in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert rest_s(1000) == REST_MAX_S


def test_failures_in_a_row_are_counted_however_long_each_takes_to_show() -> None:
    circuit = a_broken_one(100.0)
    circuit.fail(700.0)
    assert circuit.rest_until_s == 700.0 + rest_s(2)
    assert not circuit.is_broken
    circuit.fail(1300.0)
    assert circuit.is_broken
    circuit.send(7)
    assert circuit.is_broken, "until it has shown that it works"
    circuit.answer(7)
    assert not circuit.is_broken
    circuit.fail(1400.0)
    assert circuit.rest_until_s == 1400.0 + rest_s(1)


@pytest.mark.parametrize("seed", range(20))
def test_an_engine_that_answers_nobody_is_sent_one_at_a_time_after_its_first_failure(seed: int) -> None:
    """Requests come without end, each is given up after a while; those under way at the first failure are lost."""
    rng = Random(seed)
    circuit, now_s, sent_after = Circuit(), 0.0, 0
    running: dict[int, float] = {}
    for ticket in range(3000):
        now_s += rng.random() / 10
        for old in [old for old, until_s in running.items() if until_s <= now_s]:
            del running[old]
            if not circuit.is_open(now_s):
                circuit.fail(now_s)
            circuit.end(old, is_cancelled=True)
        if circuit.admits(now_s):
            if not circuit.is_closed:
                circuit.send(ticket)
                sent_after += 1
            running[ticket] = now_s + 20.0
    assert sent_after <= now_s / 20.0 + 1

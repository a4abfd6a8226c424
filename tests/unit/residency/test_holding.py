"""What a gateway may still be using, whatever it was told since, and what its ended requests still occupy."""

from cortex.residency.holding import MAX_PIECES, Holding, Said

SETTLE_S = 10.0


def a_holding(told: int = 0, event: int = 5) -> Holding:
    holding = Holding("g", 0)
    if told:
        holding.tell(told, event)
    return holding


def say(
    holding: Holding, in_flight: int, *, seen: int = 1, waiting: int = 0, now_s: float = 0.0,
    cancelled: int | None = None,
) -> None:  # fmt: skip
    said = Said(in_flight, waiting, 3.0, cancelled)
    holding.report(said, seen_event=seen, now_s=now_s, settle_s=SETTLE_S)


def test_more_slots_count_at_once_and_fewer_only_when_the_gateway_knows() -> None:
    holding = a_holding(4, event=5)
    assert holding.held == 4
    holding.tell(1, 8)
    say(holding, 0, seen=7)
    assert holding.held == 4
    say(holding, 0, seen=8)
    assert holding.held == 1


def test_what_still_runs_beyond_the_new_number_is_held_until_it_has_ended_and_left_the_engine() -> None:
    holding = a_holding(4)
    say(holding, 4)
    holding.tell(1, 8)
    say(holding, 3, seen=8)
    assert (holding.held, holding.debris) == (4, 1)
    holding.settle(SETTLE_S)
    assert (holding.held, holding.debris) == (3, 0)


def test_a_number_lowered_again_needs_to_be_known_again() -> None:
    holding = a_holding(4)
    holding.tell(2, 8)
    say(holding, 0, seen=8)
    holding.tell(3, 9)
    holding.tell(0, 12)
    say(holding, 0, seen=9)
    assert holding.held == 3
    say(holding, 0, seen=12)
    assert holding.held == 0


def test_a_gateway_that_has_more_in_flight_than_it_was_told_holds_that() -> None:
    holding = a_holding()
    say(holding, 3)
    assert holding.held == 3


def test_requests_that_end_occupy_nothing_beyond_what_the_gateway_has_anyway() -> None:
    holding = a_holding(4)
    for _ in range(10):
        say(holding, 4)
        say(holding, 0)
    assert (holding.held, holding.debris) == (4, 40)


def test_a_count_clears_only_what_had_ended_before_it_was_asked_for_the_oldest_first() -> None:
    holding = a_holding(4)
    say(holding, 4)
    say(holding, 3, now_s=1.0)
    say(holding, 1, now_s=2.0)
    assert holding.clear(5, asked_s=1.5) == 4
    assert holding.debris == 2
    assert holding.clear(1, asked_s=2.0) == 0
    assert holding.debris == 1


def test_pieces_are_kept_few_and_none_is_forgotten_too_early() -> None:
    holding = a_holding(4)
    for number in range(3 * MAX_PIECES):
        say(holding, 1, now_s=number)
        say(holding, 0, now_s=number + 0.5)
    assert holding.debris == 3 * MAX_PIECES
    holding.settle(3 * MAX_PIECES - 0.5 + SETTLE_S - 0.001)
    assert holding.debris > 0
    holding.settle(3 * MAX_PIECES + SETTLE_S)
    assert holding.debris == 0


def test_a_wait_is_one_only_while_somebody_waits() -> None:
    holding = a_holding()
    say(holding, 0)
    assert (holding.oldest_wait_s, holding.is_short) == (0.0, False)
    say(holding, 0, waiting=1)
    assert (holding.oldest_wait_s, holding.is_short) == (3.0, True)
    holding.tell(1, 9)
    assert not holding.is_short


def test_what_is_left_in_the_engine_in_good_order_is_what_runs_and_what_has_just_ended() -> None:
    holding = a_holding(4)
    say(holding, 3)
    say(holding, 1)
    assert holding.leftovers == 3


def test_only_what_was_cancelled_may_stay_in_the_engine_where_the_gateway_counts_that() -> None:
    holding = a_holding(4)
    say(holding, 4, cancelled=0)
    say(holding, 1, cancelled=0)
    assert holding.debris == 0
    say(holding, 1, cancelled=2)
    say(holding, 1, cancelled=2)
    assert holding.debris == 2
    holding.tell(1, 8)
    say(holding, 1, cancelled=2, seen=8)
    assert holding.held == 3


def test_a_process_that_has_seen_nothing_may_be_a_new_one_and_the_last_one_was_cut() -> None:
    holding = a_holding(4)
    say(holding, 3, cancelled=1, seen=5)
    holding.settle(SETTLE_S)
    say(holding, 0, cancelled=1, seen=0, now_s=SETTLE_S)
    assert holding.debris == 4
    say(holding, 0, cancelled=1, seen=5, now_s=SETTLE_S)
    assert holding.debris == 4

"""A ring has the last so many steps, and knows nothing of those that were left out."""

from cortex.gateway.admin.ring import Ring


def test_of_an_empty_ring_nothing_is_known() -> None:
    assert Ring(3).last(10, 3) == (None, None, None)


def test_values_come_back_in_order_up_to_a_step() -> None:
    ring = Ring(4)
    for step in range(10, 16):
        ring.put(step, step / 4)
    assert ring.last(16, 4) == (3.0, 3.25, 3.5, 3.75)
    assert ring.last(15, 2) == (3.25, 3.5)
    assert ring.last(17, 3) == (3.5, 3.75, None)
    assert ring.last(16, 6) == (None, None, 3.0, 3.25, 3.5, 3.75)


def test_steps_that_were_left_out_are_unknown() -> None:
    ring = Ring(4)
    for step, value in ((0, 1.0), (1, 2.0), (4, 3.0)):
        ring.put(step, value)
    assert ring.last(5, 4) == (2.0, None, None, 3.0)
    ring.put(400, 4.0)
    assert ring.last(401, 4) == (None, None, None, 4.0)


def test_nothing_to_measure_is_unknown_and_the_past_does_not_change() -> None:
    ring = Ring(4)
    ring.put(3, None)
    ring.put(3, 1.0)
    ring.put(2, 1.0)
    assert ring.last(4, 2) == (None, None)
    assert ring.newest == 3


def test_a_value_is_told_without_the_noise_of_four_bytes() -> None:
    ring = Ring(1)
    ring.put(0, 0.1)
    assert ring.last(1, 1) == (0.1,)

"""A model that keeps failing is left alone, longer and longer."""

from cortex.residency.crash_loop import LIMIT_WAIT_S, STEADY_S, CrashLoop


def waits_of(loop: CrashLoop, failures: int) -> list[float]:
    waits = []
    for _ in range(failures):
        loop.failed(0, 100)
        waits.append(loop.left_s(100))
    return waits


def test_a_model_that_never_failed_may_be_tried() -> None:
    assert CrashLoop().left_s(0) == 0


def test_the_second_try_is_free_and_the_waits_grow_to_the_limit() -> None:
    assert waits_of(CrashLoop(), 8) == [0, 5, 20, 80, 320, LIMIT_WAIT_S, LIMIT_WAIT_S, LIMIT_WAIT_S]


def test_a_wait_passes() -> None:
    loop = CrashLoop()
    waits_of(loop, 2)
    assert (loop.left_s(103), loop.left_s(105), loop.left_s(200)) == (2, 0, 0)


def test_an_engine_that_served_for_long_ends_the_row() -> None:
    loop = CrashLoop()
    waits_of(loop, 4)
    loop.failed(STEADY_S, 100)
    assert (loop.failures, loop.left_s(100)) == (1, 0)


def test_one_that_served_only_a_while_does_not() -> None:
    loop = CrashLoop()
    waits_of(loop, 1)
    loop.failed(STEADY_S - 1, 100)
    assert loop.left_s(100) == 5

"""One missed poll is not death, a refused connection is; who does not answer is asked ever less often."""

from cortex.fleet.liveness import Liveness


def test_node_that_never_answered_is_unhealthy_with_the_first_miss() -> None:
    live = Liveness()
    assert not live.is_healthy
    assert live.missed("starting", is_certain=False)
    assert live.why == "starting"


def test_three_misses_in_a_row_make_a_node_unhealthy_and_an_answer_starts_the_count_anew() -> None:
    live = Liveness()
    assert live.answered()
    assert not live.answered(), "no news"
    for _ in range(2):
        assert not live.missed("silence", is_certain=False)
    live.answered()
    assert [live.missed("silence", is_certain=False) for _ in range(3)] == [False, False, True]


def test_refused_connection_makes_it_unhealthy_at_once() -> None:
    live = Liveness()
    live.answered()
    assert live.missed("refused", is_certain=True)


def test_another_reason_is_news_and_the_same_is_not() -> None:
    live = Liveness()
    assert live.missed("refused", is_certain=True)
    assert not live.missed("refused", is_certain=True)
    assert live.missed("starting", is_certain=False)


def test_sign_of_life_helps_the_healthy_only() -> None:
    live = Liveness(misses=2)
    live.answered()
    live.missed("silence", is_certain=False)
    live.stirred()
    assert not live.missed("silence", is_certain=False)
    live.missed("silence", is_certain=False)
    live.stirred()
    assert not live.is_healthy


def test_polls_come_a_little_sooner_after_a_miss_and_soon_then_ever_less_often_when_it_is_unhealthy() -> None:
    live = Liveness()
    live.answered()
    assert live.pause_s(10) == 10
    pauses = []
    for _ in range(9):
        live.missed("silence", is_certain=False)
        pauses.append(live.pause_s(10))
    assert pauses == [2.5, 2.5, 0.25, 0.5, 1, 2, 4, 8, 10]
    live.answered()
    assert live.pause_s(10) == 10

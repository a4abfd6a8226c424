"""A load may take as long as its model is large, and longer as long as it gets on."""

from cortex.residency.load_deadline import LoadDeadline


def test_the_time_grows_with_the_model() -> None:
    assert LoadDeadline(0, 60, 100).left_s(100) == 60
    assert LoadDeadline(5000, 60, 100).left_s(110) == 150


def test_it_ends() -> None:
    assert LoadDeadline(0, 60, 100).left_s(160) == 0
    assert LoadDeadline(0, 60, 100).left_s(900) == 0


def test_the_first_look_is_no_progress() -> None:
    deadline = LoadDeadline(0, 60, 100)
    deadline.note((500, 7), 150)
    assert deadline.left_s(150) == 10


def test_every_growth_renews_it() -> None:
    deadline = LoadDeadline(0, 60, 100)
    deadline.note((1, 1), 110)
    deadline.note((1, 2), 150)
    assert deadline.left_s(150) == 60
    deadline.note((2, 1), 180)
    assert deadline.left_s(180) == 60


def test_what_shrinks_and_comes_back_is_no_progress() -> None:
    deadline = LoadDeadline(0, 60, 100)
    for now_s, sign in ((110, 5), (120, 3), (130, 5)):
        deadline.note((sign,), now_s)
    assert deadline.left_s(130) == 30


def test_renewals_have_an_end() -> None:
    deadline = LoadDeadline(0, 60, 100)
    for second in range(240):
        deadline.note((second,), 100 + second)
    assert deadline.left_s(339) == 1

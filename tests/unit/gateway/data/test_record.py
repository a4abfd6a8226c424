"""What a request's record says of its speed."""

import pytest

from cortex.gateway.data.record import tokens_per_s


@pytest.mark.parametrize(
    ("completion", "sent_s", "first_s", "last_s", "speed"),
    [
        pytest.param(11, 5.0, 6.0, 8.0, 5.0, id="a stream by the gaps between its tokens"),
        pytest.param(10, 5.0, None, 7.0, 5.0, id="an unstreamed answer by all of its time"),
        pytest.param(1, 5.0, 6.0, 8.0, None, id="one token has no gap"),
        pytest.param(11, 5.0, 6.0, 6.0, None, id="a stream that came in one piece"),
        pytest.param(0, 5.0, 6.0, 8.0, None, id="nothing was generated"),
        pytest.param(None, 5.0, 6.0, 8.0, None, id="the engine did not tell"),
        pytest.param(11, 0.0, None, 8.0, None, id="no engine was given the request"),
        pytest.param(11, 5.0, 6.0, None, None, id="no data ever came"),
    ],
)
def test_speed_is_told_only_where_it_can_be(
    completion: int | None, sent_s: float, first_s: float | None, last_s: float | None, speed: float | None
) -> None:
    assert tokens_per_s(completion, sent_s, first_s, last_s) == speed


def test_an_answer_of_no_time_has_a_finite_speed() -> None:
    assert tokens_per_s(3, 5.0, None, 5.0) == pytest.approx(3e6)

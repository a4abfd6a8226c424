"""What was in a step becomes one value of each series, for the hour and for the day."""

import sys
from array import array

import pytest

from cortex.gateway.admin.series import GRAINS, IDLE, MAX_MODELS, METRICS, Grain, Key, Level, Look, add_up
from cortex.gateway.ports import Tally

WHOLE: Key = ("gateway", "")
M: Key = ("model", "m")
BEAST: Key = ("node", "beast")


def a_tally(requests: int = 1, first_token_s: float | None = None, **keys: int) -> Tally:
    tally = Tally(requests=requests, **keys)  # type: ignore[arg-type]
    if first_token_s is not None:
        tally.first_token.add(first_token_s)
    return tally


def tail(level: Level, key: Key, metric: str, now_s: float, count: int = 3) -> tuple[float | None, ...]:
    (series,) = level.series([key], [metric], now_s)  # type: ignore[list-item]
    assert len(series.values) == level.grain.size
    return series.values[-count:]


def test_rates_are_by_second_of_the_step_that_is_over() -> None:
    level = Level(Grain(10.0, 5), 0.0)
    level.add(10.0, {WHOLE: a_tally(20, errors=5, completion_tokens=300, prompt_tokens=40, cold_starts=2)}, {})
    level.add(20.0, {WHOLE: a_tally(10)}, {})
    assert tail(level, WHOLE, "requests_per_s", 20.0) == (None, 2.0, 1.0)
    assert tail(level, WHOLE, "errors_per_s", 20.0) == (None, 0.5, 0.0)
    assert tail(level, WHOLE, "tokens_per_s", 20.0) == (None, 30.0, 0.0)
    assert tail(level, WHOLE, "prompt_tokens_per_s", 20.0) == (None, 4.0, 0.0)
    assert tail(level, WHOLE, "cold_starts", 20.0) == (None, 2.0, 0.0)
    assert level.start_s(20.0) == -30.0
    assert tail(level, WHOLE, "requests_per_s", 29.9) == (None, 2.0, 1.0)


def test_of_two_tallies_everything_is_added_up() -> None:
    one, other = a_tally(1, 0.1, errors=2, cold_starts=3, prompt_tokens=4, completion_tokens=5), a_tally(10, 0.2)
    other.overhead.add(0.001)
    other.overhead.add(0.003)
    add_up(one, other)
    add_up(one, other)
    figures = (one.requests, one.errors, one.cold_starts, one.prompt_tokens, one.completion_tokens)
    assert figures == (21, 2, 3, 4, 5)
    assert (one.first_token.count, one.overhead.count) == (3, 4)
    assert one.overhead.quantile(0.95) == pytest.approx(0.003, rel=0.05)


def test_quantiles_are_of_all_that_was_in_the_step_and_unknown_where_nothing_was() -> None:
    level = Level(Grain(20.0, 5), 0.0)
    level.add(10.0, {WHOLE: a_tally(first_token_s=0.1)}, {})
    level.add(20.0, {WHOLE: a_tally(first_token_s=4.0)}, {})
    level.add(30.0, {WHOLE: a_tally()}, {})
    level.add(40.0, {}, {})
    first, second = tail(level, WHOLE, "first_token_p50_s", 40.0, 2)
    assert first == pytest.approx(0.1, rel=0.05)
    assert second is None
    assert tail(level, WHOLE, "first_token_p95_s", 40.0, 2)[0] == pytest.approx(4.0, rel=0.05)


def test_what_is_looked_at_is_the_mean_of_the_looks() -> None:
    level = Level(Grain(20.0, 5), 0.0)
    level.add(10.0, {}, {M: Look(3, 1), BEAST: Look(3, 0, 1000.0, 60.0)})
    level.add(20.0, {}, {M: Look(1, 0), BEAST: Look(1, 0, None)})
    assert tail(level, M, "in_flight", 20.0, 1) == (2.0,)
    assert tail(level, M, "waiting", 20.0, 1) == (0.5,)
    assert tail(level, BEAST, "vram_used_mb", 20.0, 1) == (1000.0,)
    assert tail(level, BEAST, "power_w", 20.0, 1) == (60.0,)


def test_a_model_without_requests_has_none_and_a_node_that_says_nothing_is_unknown() -> None:
    level = Level(Grain(10.0, 5), 0.0)
    level.add(10.0, {M: a_tally()}, {BEAST: Look(1, 0, 500.0)})
    level.add(20.0, {}, {})
    assert tail(level, M, "requests_per_s", 20.0, 2) == (0.1, 0.0)
    assert tail(level, M, "in_flight", 20.0, 2) == (None, 0.0)
    assert tail(level, BEAST, "vram_used_mb", 20.0, 2) == (500.0, None)


def test_a_look_that_comes_late_stands_for_all_that_it_took() -> None:
    level = Level(Grain(10.0, 5), 0.0)
    level.add(10.0, {WHOLE: a_tally(10)}, {})
    level.add(45.0, {WHOLE: a_tally(70)}, {})  # the machine slept
    assert tail(level, WHOLE, "requests_per_s", 45.0, 5) == (None, 1.0, None, None, 2.0)
    level.add(50.0, {WHOLE: a_tally(5)}, {})
    assert tail(level, WHOLE, "requests_per_s", 50.0, 2) == (2.0, 1.0)


def test_of_too_many_models_those_go_that_had_no_request_for_longest() -> None:
    level = Level(Grain(10.0, 5), 0.0)
    for number in range(MAX_MODELS):
        level.add(10.0 * (number + 1), {("model", f"m{number:02}"): a_tally()}, {})
    level.add(1000.0, {("model", "m00"): a_tally()}, {})
    level.add(1010.0, {("model", "new"): a_tally()}, {("model", "m02"): IDLE})
    names = [name for _, name in level.keys("model")]
    assert len(names) == MAX_MODELS
    assert "new" in names
    assert "m00" in names
    assert "m01" not in names


def test_only_what_there_is_of_a_kind_is_told() -> None:
    level = Level(Grain(10.0, 5), 0.0)
    level.add(10.0, {WHOLE: a_tally(), M: a_tally()}, {BEAST: Look(1)})
    assert list(level.series([WHOLE], ["vram_used_mb"], 10.0)) == []
    assert list(level.series([("model", "other")], ["in_flight"], 10.0)) == []
    (of_model,) = level.series([M], ["in_flight"], 10.0)
    (of_node,) = level.series([BEAST], ["vram_used_mb"], 10.0)
    assert (of_model.model, of_model.node, of_node.model, of_node.node) == ("m", "", "", "beast")


def test_a_hundred_nodes_take_little_more_than_a_megabyte() -> None:
    rings = 100 * len(METRICS["node"]) + (MAX_MODELS + 1) * len(METRICS["model"])
    of_one = sum(sys.getsizeof(array("f", bytes(4 * grain.size))) for grain in GRAINS.values())
    assert rings * of_one < 1_300_000

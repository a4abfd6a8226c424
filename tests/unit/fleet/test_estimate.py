"""How long loads take, and how much of a loss a model is."""

from tests.unit.fleet.builder import a_report

from cortex.fleet.estimate import START_S, load_s, reload_s, size_s, warmth


def test_load_is_taken_to_last_as_long_as_the_last_one_there() -> None:
    assert load_s(a_report(load_s=12.0), 50_000, 99.0) == 12.0


def test_where_it_was_never_loaded_it_is_no_quicker_than_the_slowest_elsewhere() -> None:
    assert load_s(a_report(), 500, 99.0) == 99.0
    assert load_s(None, 500, None) == size_s(500) == START_S + 1.0
    assert load_s(None, None, None) == START_S


def test_reload_is_taken_to_last_as_long_as_the_last_load_else_by_its_size() -> None:
    assert reload_s(a_report(load_s=0.5), 9000) == 0.5
    assert reload_s(a_report(), 5000) == START_S + 10.0


def test_longer_idle_is_always_colder_and_unknown_is_warm() -> None:
    spans = [0.0, 1.0, 600.0, 3600.0, 86_400.0, 1e7]
    warm = [warmth(span) for span in spans]
    assert warm == sorted(warm, reverse=True)
    assert len(set(warm)) == len(warm)
    assert warmth(None) == warmth(0.0) == 1.0
    assert warmth(600.0) == 0.5

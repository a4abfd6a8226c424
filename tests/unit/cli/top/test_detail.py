"""Facts of one thing."""

from tests.unit.cli.top.fleet import BUSY, HOSTILE

from cortex.cli.top.detail import detail_lines, found
from cortex.cli.top.glance import Key
from cortex.cli.top.line import plain


def test_what_is_unknown_is_left_out_and_long_facts_are_folded() -> None:
    lines = [plain(line) for line in detail_lines(BUSY, Key("node", "beast"), 0, 60, 40)]
    assert lines[0] == "node beast"
    assert any(line.split() == ["devices.0.temp_c", "61"] for line in lines)
    assert not any("driver_version" in line for line in lines)
    folded = [plain(line) for line in detail_lines(HOSTILE, Key("finished", "1"), 0, 40, 200)]
    assert all(line.isprintable() for line in folded)


def test_one_scrolls_no_further_than_the_end() -> None:
    every = detail_lines(BUSY, Key("node", "beast"), 0, 80, 100)
    end = detail_lines(BUSY, Key("node", "beast"), 500, 80, 10)
    assert end[2:] == every[-8:]


def test_everything_on_the_board_is_found_again() -> None:
    keys = [Key("node", "beast"), Key("instance", "bad", "spare"), Key("running", "req-1"), Key("finished", "1")]
    assert all(found(BUSY, key) is not None for key in [*keys, Key("decision", "9")])

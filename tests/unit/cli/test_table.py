"""Columns line up, nothing is cut, nothing can move the cursor."""

import re
from io import StringIO

import pytest
from rich.console import Console

from cortex.cli.table import show, table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "LONG"), [("a long cell", 1), ("b", None)]).splitlines() == [
        "A            LONG",
        "a long cell  1",
        "b            -",
    ]


def test_an_empty_cell_is_shown_so_that_columns_can_be_counted() -> None:
    assert table(("A", "B"), [("", 0)]).splitlines()[1].split() == ["-", "0"]


def test_a_column_without_a_name_has_an_empty_header() -> None:
    assert table(("", "B"), [("a", 0)]).splitlines() == ["   B", "a  0"]


def test_a_name_cannot_break_the_terminal() -> None:
    assert table(("A",), [("x\x1b[2J\ny",)]).splitlines() == ["A", "x?[2J?y"]


def drawn(*rows: tuple[object, ...], width: int = 80) -> list[str]:
    """Show a table on a terminal of so many columns; return its lines, trailing blanks taken off."""
    out = StringIO()
    show(("MODEL", "STATE"), rows, Console(file=out, width=width, force_terminal=True, color_system="standard"))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_on_a_terminal_a_long_cell_is_folded_and_nothing_is_lost() -> None:
    lines = drawn(("x" * 100, "loaded"), width=60)
    assert all(len(without_colours(line)) <= 60 for line in lines)
    assert sum(line.count("x") for line in lines) == 100


def test_on_a_terminal_states_have_their_colours_and_names_have_none() -> None:
    (_, row) = drawn(("[red]name[/red]", "failed"))
    assert "\x1b[31mfailed" in row
    assert "[red]name[/red]" in row


def test_a_name_cannot_break_the_terminal_either_way() -> None:
    assert "x?[2J?y" in drawn(("x\x1b[2J\ny", ""))[1]


def test_what_is_piped_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    show(("A", "B"), [("x" * 200, "loaded")])
    assert capsys.readouterr().out == f"{'A'.ljust(200)}  B\n{'x' * 200}  loaded\n"


def without_colours(line: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", line)

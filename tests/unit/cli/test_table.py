"""Columns line up, nothing is cut, nothing can move the cursor."""

from cortex.cli.table import table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "LONG"), [("a long cell", 1), ("b", None)]).splitlines() == [
        "A            LONG",
        "a long cell  1",
        "b            -",
    ]


def test_an_empty_cell_is_shown_so_that_columns_can_be_counted() -> None:
    assert table(("A", "B"), [("", 0)]).splitlines()[1].split() == ["-", "0"]


def test_a_name_cannot_break_the_terminal() -> None:
    assert table(("A",), [("x\x1b[2J\ny",)]).splitlines() == ["A", "x?[2J?y"]

"""Widths are those of a terminal's cells."""

from cortex.cli.top.line import Span, cut, fit, plain, width_of


def test_a_text_is_cut_or_filled_to_its_width_in_cells() -> None:
    assert fit("ab", 4) == "ab  "
    assert fit("ab", 4, right=True) == "  ab"
    assert fit("漢字漢字", 6) == "漢字 …"
    assert (fit("abc", 0), width_of(fit("漢字", 3))) == ("", 3)


def test_what_would_move_the_cursor_is_a_question_mark() -> None:
    assert fit("a\x1b[2Jb\n\u202e", 8) == "a?[2Jb??"


def test_a_line_is_cut_in_the_middle_of_a_span_and_keeps_its_styles() -> None:
    line = (Span("ab", "red"), Span("漢字"), Span("x"))
    assert cut(line, 5) == (Span("ab", "red"), Span("漢 "))
    assert cut((Span("a"), Span("   ")), 9) == (Span("a"),)
    assert plain(line) == "ab漢字x"

"""Whole screens from boards: of the right size whatever is on them, and what an operator looks for is there."""

import re

import pytest
from tests.unit.cli.top.fleet import BUSY, EMPTY, HOSTILE, NOW

from cortex.cli.top.board import Board, with_trouble
from cortex.cli.top.glance import VIEWS, Glance, Key, Wish
from cortex.cli.top.line import plain, width_of
from cortex.cli.top.page import screen, text


def shown(board: Board, glance: Glance, width: int = 80, height: int = 24) -> str:
    return "\n".join(plain(line) for line in screen(board, glance, width, height).lines)


@pytest.mark.parametrize("board", [BUSY, EMPTY, HOSTILE, Board(url="http://gate:8000")])
@pytest.mark.parametrize("size", [(80, 24), (200, 60), (20, 5), (1, 1), (300, 3), (40, 100)])
@pytest.mark.parametrize("view", VIEWS)
def test_every_screen_is_as_large_as_the_terminal_and_holds_nothing_that_moves_the_cursor(
    board: Board, size: tuple[int, int], view: str
) -> None:
    width, height = size
    for glance in (Glance(view=view), Glance(view=view, filter="a", sort="busy"), Glance(view=view, has_help=True)):
        lines = screen(board, glance, width, height).lines
        assert len(lines) == height
        for line in lines:
            words = "".join(span.text for span in line)
            assert words.isprintable()
            assert width_of(words) <= width


def test_80_by_24_shows_nodes_models_requests_and_decisions() -> None:
    seen = shown(BUSY, Glance())
    for words in (
        r"cortex degraded, 2/3 nodes · 3 requests, 2 waiting · 2\.0 tok/s · 40\.0/64\.0 GiB",
        r"beast +healthy +2 +0 RTX 5090 +█+▓+▒+░+ +20\.0/32\.0 +37% +61°",
        r"benjy +unhealthy +0 +connection ref",
        r"spare +maintenance",
        r"org/coder +beast +loaded",
        r"org/new +beast +loading",
        r"org/coder +beast +alice +streaming +3\.0s +0\.42s +55",
        r"eviction +old +beast",
    ):
        assert re.search(words, seen), (words, seen)


def test_a_wide_screen_says_why_a_request_was_cold_and_why_one_failed() -> None:
    seen = shown(BUSY, Glance(), 200, 60)
    assert re.search(r"ok +2\.5s +0\.10s +120 +48\.0 +cold: had to make room", seen)
    assert re.search(r"failed .*upstream_broken", seen)
    assert "loading on beast, 40 %, about 30 s" in seen
    assert re.search(r"bad +spare +failed .*bad magic", seen)
    assert re.search(r"nowhere +waiting", seen)
    assert "█ models ▓ others ▒ reserved ░ free" in seen
    assert "gone" not in seen
    assert "fits free memory (3 times)" in seen


def test_an_empty_fleet_says_so() -> None:
    seen = shown(EMPTY, Glance())
    assert "cortex down, 0/0 nodes" in seen
    for words in ("no node is configured", "no model is loaded", "no request yet", "nothing was decided yet"):
        assert words in seen


def test_a_gateway_that_does_not_answer_is_told_with_the_time_and_what_was_known_stays() -> None:
    seen = shown(with_trouble(with_trouble(BUSY, "refused", NOW - 12), "still refused", NOW), Glance())
    assert re.search(r"gateway does not answer, since \d\d:\d\d:\d\d \(12s\): still refused", seen)
    assert "org/coder" in seen


def test_a_filter_holds_in_every_part() -> None:
    seen = shown(BUSY, Glance(filter="CODER"), 200, 60)
    assert "org/coder" in seen
    assert "org/new " not in seen
    assert "benjy" not in seen
    assert "filter: CODER" in seen
    assert "nothing fits the filter" in shown(BUSY, Glance(filter="zzz"))


def test_what_has_no_room_is_counted_and_the_chosen_row_is_always_seen() -> None:
    many = Board(
        url="u", now_epoch_s=NOW, is_known=True, nodes=tuple(BUSY.nodes[1].__class__(**_fields(n)) for n in range(40))
    )
    seen = shown(many, Glance(view="nodes"))
    assert re.search(r"… \d+ more", seen)
    drawn = screen(many, Glance(view="nodes", chosen=Key("node", "n39")), 80, 24)
    (chosen,) = [line for line in drawn.lines[2:] if line and line[0].style == "reverse"]
    assert plain(chosen).startswith("n39 ")
    assert [key.name for key in drawn.keys] == [f"n{number}" for number in range(40)]


def _fields(number: int) -> dict[str, object]:
    node = BUSY.nodes[1]
    return {name: getattr(node, name) for name in node.__struct_fields__} | {"name": f"n{number}"}


def test_details_are_all_that_is_known() -> None:
    seen = shown(BUSY, Glance(detail=Key("finished", "2")), 100, 60)
    assert re.search(r"why\.reason +had to make room", seen)
    assert re.search(r"first_token_s +0\.1\b", seen)
    assert "it is not there any more" in shown(BUSY, Glance(detail=Key("node", "no")))


def test_a_question_and_what_is_typed_stand_below() -> None:
    assert shown(BUSY, Glance(asked=Wish("unload", "m", "n"))).endswith("unload m from n? y: yes, any other key: no")
    assert "load which model: org/" in shown(BUSY, Glance(typing="load", typed="org/"))


def test_as_text_everything_is_there_and_nothing_is_cut_from_the_list() -> None:
    seen = text(BUSY, 160)
    assert "more" not in seen
    assert seen.splitlines()[0].startswith("cortex degraded")
    assert "1 overview" not in seen
    assert "upstream_broken" in seen

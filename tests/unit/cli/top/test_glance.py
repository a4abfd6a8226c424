"""What keys do."""

from cortex.cli.top.glance import Glance, Key, Wish, pressed

NODE, MODEL, REQUEST = Key("node", "beast"), Key("instance", "org/m", "beast"), Key("running", "req-1")
ROWS = (NODE, MODEL, REQUEST)


def after(
    *keys: str, glance: Glance | None = None, drained: frozenset[str] = frozenset()
) -> tuple[Glance, Wish | None]:
    now, wish = glance or Glance(), None
    for key in keys:
        now, wish = pressed(now, key, ROWS, drained)
    return now, wish


def test_views_are_chosen_by_number_and_in_turn() -> None:
    assert after("3")[0].view == "models"
    assert after("tab", "tab")[0].view == "models"
    assert after("left")[0].view == "decisions"
    assert after("9")[0].view == "overview"


def test_arrows_move_over_rows_and_stop_at_the_ends() -> None:
    assert after("down")[0].chosen == NODE
    assert after("down", "down")[0].chosen == MODEL
    assert after("down", *["down"] * 9)[0].chosen == REQUEST
    assert after("end", "up")[0].chosen == MODEL
    assert after("down", glance=Glance(chosen=Key("node", "gone")))[0].chosen == NODE


def test_a_filter_holds_while_it_is_typed_and_escape_ends_it() -> None:
    typed = after("/", "q", "x", "backspace", "w")[0]
    assert (typed.filter, typed.typing, typed.is_over) == ("qw", "filter", False)
    assert after("enter", glance=typed)[0].filter == "qw"
    assert after("escape", glance=typed)[0].filter == ""
    assert after("enter", "escape", glance=typed)[0].filter == ""


def test_enter_opens_details_and_escape_closes_them() -> None:
    opened = after("down", "enter", "down")[0]
    assert (opened.detail, opened.scroll, opened.chosen) == (NODE, 1, NODE)
    assert after("q", glance=opened)[0] == after("down")[0]


def test_nothing_is_done_before_the_question_is_answered_with_y() -> None:
    asked, wish = after("down", "down", "u")
    assert (asked.asked, wish) == (Wish("unload", "org/m", "beast"), None)
    assert after("y", glance=asked)[1] == Wish("unload", "org/m", "beast")
    refused, wish = after("enter", glance=asked)
    assert (refused.asked, refused.said, wish) == (None, "nothing done", None)


def test_a_model_is_loaded_by_its_name_or_where_it_is_chosen() -> None:
    assert after("l", "m", "1", "enter", "y")[1] == Wish("load", "m1", "")
    assert after("l", "enter")[0].asked is None
    assert after("down", "down", "l", "y")[1] == Wish("load", "org/m", "beast")


def test_nothing_is_asked_about_a_row_that_has_gone() -> None:
    gone = Glance(chosen=Key("instance", "gone", "beast"))
    assert after("u", glance=gone)[0].asked is None
    assert after("l", glance=gone)[0].typing == "load"


def test_a_node_is_drained_or_taken_back() -> None:
    assert after("down", "d", "y")[1] == Wish("drain", "", "beast")
    assert after("down", "d", "y", drained=frozenset({"beast"}))[1] == Wish("undrain", "", "beast")
    assert after("d")[0].said == "choose a node with the arrows first"
    assert after("u")[0].said == "choose a model with the arrows first"


def test_sorts_go_round_pause_goes_to_and_fro_and_q_ends() -> None:
    assert [after(*["s"] * count)[0].sort for count in range(1, 5)] == ["name", "busy", "memory", "default"]
    assert (after("p")[0].is_paused, after("p", "p")[0].is_paused) == (True, False)
    assert after("q")[0].is_over
    assert after("u", "ctrl-c")[0].is_over
    assert after("?", "q")[0] == Glance()

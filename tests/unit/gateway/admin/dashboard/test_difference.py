"""What of a page is sent when only parts of it are otherwise."""

from cortex.gateway.admin.dashboard.difference import BEGIN, difference, marked, unmarked


def page(*parts: str, around: str = "<p>around</p>") -> str:
    return around + "".join(f"\n{marked(part)}" for part in parts) + around


A, B = '<tr id="a"><td>1</td></tr>', '<tr id="b"><td>1</td></tr>'
A2 = '<tr id="a"><td>2</td></tr>'


def test_a_part_that_is_otherwise_is_sent_and_the_others_are_not() -> None:
    assert difference(page(A, B), page(A2, B)) == f'<hx-partial id="a" hx-swap="outerMorph">{A2}</hx-partial>'


def test_nothing_is_sent_of_what_is_the_same() -> None:
    assert difference(page(A, B), page(A, B)) == ""


def test_a_page_whose_parts_come_or_go_or_change_places_is_sent_whole() -> None:
    assert difference(page(A), page(A, B)) is None
    assert difference(page(A, B), page(A)) is None
    assert difference(page(A, B), page(B, A)) is None


def test_a_page_that_is_otherwise_around_its_parts_is_sent_whole() -> None:
    assert difference(page(A), page(A2, around="<p>else</p>")) is None


def test_a_page_without_parts_is_sent_whole() -> None:
    assert difference("<p>1</p>", "<p>2</p>") is None
    assert difference("", page(A)) is None


def test_parts_without_a_name_cannot_be_put_anywhere() -> None:
    assert difference(page("<p>1</p>"), page("<p>2</p>")) is None


def test_a_page_that_is_sent_whole_has_no_marks() -> None:
    whole = unmarked(page(A, B))
    assert BEGIN not in whole
    assert whole == f"<p>around</p>\n{A}\n{B}<p>around</p>"

"""Signing in and out: which keys do, what the browser is given, how often it may try."""

import pytest
from tests.unit.gateway.admin.dashboard.book import CALLER, CALLERS, OPERATOR, book_of, record
from tests.unit.gateway.admin.dashboard.stage import Browser

from cortex.contract.error import StoreUnavailable
from cortex.gateway.admin.dashboard.attempt import FREE
from cortex.gateway.data.key_book import MemoryKeyBook


def browser(book: MemoryKeyBook | None = None) -> Browser:
    return Browser(book or book_of(record(), CALLERS))


def signed_in(book: MemoryKeyBook | None = None) -> Browser:
    it = browser(book)
    assert it.post("sign-in", {"key": OPERATOR}).status == 303
    return it


def test_an_operators_key_opens_the_door_and_stays_where_it_is() -> None:
    it = browser()
    answer = it.post("sign-in", {"key": f" {OPERATOR} ", "to": "/dashboard/decisions?kind=load"})
    assert (answer.status, answer.headers["location"]) == (303, "/dashboard/decisions?kind=load")
    cookie = answer.headers["set-cookie"]
    assert OPERATOR not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/dashboard" in cookie
    assert "Secure" not in cookie
    page = it.get("")
    assert page.status == 200
    assert "olga" in page.body.decode()


def test_by_tls_the_cookie_stays_with_tls() -> None:
    answer = browser().post("sign-in", {"key": OPERATOR}, origin="https://gateway")
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("key", ["", "ctx-nobody", CALLER, OPERATOR + "x", "ü" * 1000], ids=range(5))
def test_no_other_key_does(key: str) -> None:
    it = browser()
    answer = it.post("sign-in", {"key": key})
    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.body.decode()
    assert it.get("").status == 303


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example/", "/\\evil.example", "/v1/models"])
def test_nobody_is_sent_elsewhere(to: str) -> None:
    it = browser()
    assert it.post("sign-in", {"key": OPERATOR, "to": to}).headers["location"] == "/dashboard/"


def test_the_way_back_is_kept() -> None:
    it = browser()
    address = it.get("models/one", "model=a%2Fb").headers["location"]
    assert address == "/dashboard/sign-in?to=/dashboard/models/one%3Fmodel%3Da%252Fb"
    page = it.get("sign-in", "to=/dashboard/models/one%3Fmodel%3Da%252Fb").body.decode()
    assert 'name="to" value="/dashboard/models/one?model=a%2Fb"' in page


def test_who_tries_too_often_has_to_wait_and_a_right_key_does_not_help() -> None:
    it = browser()
    for _ in range(FREE):
        assert it.post("sign-in", {"key": "ctx-nobody"}).status == 401
    answer = it.post("sign-in", {"key": OPERATOR})
    assert (answer.status, answer.headers["retry-after"]) == (429, "2")
    it.fleet.clock.advance(2.0)
    assert it.post("sign-in", {"key": OPERATOR}).status == 303


def test_a_form_of_another_page_signs_nobody_in() -> None:
    assert browser().post("sign-in", {"key": OPERATOR}, origin="http://evil.example").status == 403


def test_signing_out_ends_the_session_for_good() -> None:
    it = signed_in()
    note = it.cookies["cortex_session"]
    assert it.post("sign-out", {"token": "x"}).status == 403
    answer = it.act("sign-out", {})
    assert (answer.status, answer.headers["location"]) == (303, "/dashboard/sign-in")
    it.cookies["cortex_session"] = note  # who has kept it has nothing of it
    assert it.get("").status == 303


def test_a_revoked_key_ends_its_sessions() -> None:
    book = book_of(record())
    it = signed_in(book)
    book.take([record(revoked_s=1.0)])
    assert it.get("").status == 303
    assert it.post("nodes/drain", {"node": "beast"}).status == 303
    assert it.fleet.asked == []


def test_forms_of_one_session_are_none_of_another() -> None:
    book = book_of(record())
    one = signed_in(book)
    other = Browser(book, beside=one)
    assert other.post("sign-in", {"key": OPERATOR}).status == 303
    assert one.post("nodes/drain", {"node": "beast", "token": other.token()}).status == 403
    assert one.act("nodes/drain", {"node": "beast"}).status == 200


def test_the_first_key_ends_what_was_open() -> None:
    book = book_of()
    it = browser(book)
    token = it.token()
    book.take([record()])
    assert it.get("").status == 303
    assert it.post("nodes/drain", {"node": "beast", "token": token}).status == 303


def test_where_no_key_is_asked_for_there_is_nothing_to_sign_in_to() -> None:
    it = Browser()
    assert it.post("sign-in", {"key": "x", "to": "/dashboard/models"}).headers["location"] == "/dashboard/models"
    assert "Sign out" not in it.get("").body.decode()


def test_a_token_that_somebody_has_put_there_is_not_taken_if_it_is_none() -> None:
    it = Browser()
    it.cookies["cortex_token"] = "a"
    answer = it.get("")
    assert "cortex_token=" in answer.headers["set-cookie"]
    assert len(it.cookies["cortex_token"]) > 16


def test_while_nobody_knows_the_keys_nobody_is_let_in() -> None:
    book = book_of(record())
    it = signed_in(book)
    book.fails_closed = True
    book.failed(StoreUnavailable("silent"))
    assert it.get("").status == 503
    assert it.post("sign-in", {"key": OPERATOR}).status == 503


def test_while_the_store_is_silent_who_has_signed_in_goes_on_and_nobody_else_can() -> None:
    it = signed_in()
    it.shelf.is_silent = True
    assert it.get("").status == 200
    other = Browser(beside=it)
    answer = other.post("sign-in", {"key": OPERATOR})
    assert answer.status == 503
    assert "Nobody can sign in while" in answer.body.decode()
    assert 'role="alert"' in answer.body.decode()
    assert "set-cookie" not in answer.headers
    it.shelf.is_silent = False
    assert other.post("sign-in", {"key": OPERATOR}).status == 303


def test_while_the_store_is_silent_one_can_sign_out() -> None:
    it = signed_in()
    note, token = it.cookies["cortex_session"], it.token()
    it.shelf.is_silent = True
    assert it.post("sign-out", {"token": token}).status == 303
    it.cookies["cortex_session"] = note
    assert it.get("").status == 303


def test_a_key_that_the_store_knows_to_have_ended_signs_nobody_in() -> None:
    it = browser()
    it.shelf.holds = False
    assert it.post("sign-in", {"key": OPERATOR}).status == 401

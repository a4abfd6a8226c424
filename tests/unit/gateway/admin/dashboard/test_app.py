"""The dashboard as an application: what browsers get, what they must show, and that nothing hostile gets through."""

import asyncio
import re

import msgspec
import pytest
from tests.unit.fleet.builder import a_node, a_profile, a_report
from tests.unit.gateway.admin.dashboard.book import OPERATOR, book_of, record
from tests.unit.gateway.admin.dashboard.stage import FORM, Browser
from tests.unit.gateway.admin.scene import FakeFleet, a_model, a_view, ask

from cortex.contract.admin import LoadCall, PinCall, UnloadCall
from cortex.contract.error import NodeRefused, StoreUnavailable
from cortex.contract.instance import InstanceError
from cortex.gateway.admin.dashboard.registry import ACTIONS, PAGES

HOSTILE = "evil/<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
LOAD = {"model": "org/big", "node": "beast", "evicts": ""}


def hostile_fleet() -> FakeFleet:
    fleet = FakeFleet()
    error = InstanceError(code="load_failed", message=HOSTILE, log_tail=(HOSTILE, "</pre><script>alert(3)</script>"))
    reports = [a_report(HOSTILE), a_report("other", "failed", error=error)]
    node = msgspec.structs.replace(a_node("beast", models=reports), troubles=(HOSTILE,), why=HOSTILE)
    down = msgspec.structs.replace(a_node("benjy", is_healthy=False), why=HOSTILE)
    fleet.now = a_view([node, down], [a_model(HOSTILE, profile=a_profile(HOSTILE, aliases=(HOSTILE + "2",)))])
    fleet.log.note("refusal", HOSTILE, now_s=1.0, model=HOSTILE, node=HOSTILE, caller=HOSTILE, details={"x": HOSTILE})
    return fleet


@pytest.mark.parametrize("page", [page for page in PAGES if "one" not in page.path], ids=lambda page: page.name)
def test_every_page_is_whole_html_with_its_landmarks(page: object) -> None:
    answer = Browser().get(page.path)  # type: ignore[attr-defined]
    assert answer.status == 200
    text = answer.body.decode()
    assert text.startswith("<!doctype html>")
    for landmark in (
        '<html lang="en">',
        "<header",
        "<nav aria-label=",
        '<main id="main"',
        "<footer",
        'class="skip"',
        "<h1",
    ):
        assert landmark in text, landmark
    assert 'aria-current="page"' in text


def test_everything_is_sent_with_what_keeps_browsers_strict() -> None:
    browser = Browser()
    for path in ("", "nothing", "static/dashboard.css", "static/nothing", "sign-in"):
        headers = browser.get(path).headers
        assert set(headers["content-security-policy"].split("; ")) == {
            *("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"),
            *("img-src 'self' data: blob:", "media-src 'self' blob:"),
            *("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"),
        }
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"


def test_pages_are_not_kept_and_files_are() -> None:
    browser = Browser()
    assert browser.get("").headers["cache-control"] == "no-store"
    found = re.search(r'href="/dashboard/(static/dashboard\.css)\?(v=\w+)"', browser.get("").body.decode())
    assert found
    assert "immutable" in browser.get(found[1], found[2]).headers["cache-control"]


@pytest.mark.parametrize("path", ["", "models", "decisions", "models/one"])
def test_hostile_names_and_words_are_shown_and_never_run(path: str) -> None:
    browser = Browser(fleet=hostile_fleet())
    query = "model=" + HOSTILE.replace("&", "%26").replace("#", "%23") if path == "models/one" else ""
    text = browser.get(path, query).body.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert" not in text
    assert "<img" not in text


@pytest.mark.parametrize("path", ["models/load", "models/unload", "models/pin"])
def test_nor_in_what_is_asked_back(path: str) -> None:
    browser = Browser(fleet=hostile_fleet())
    text = browser.get(path, f"model={HOSTILE}&node=beast&pinned=true").body.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert" not in text
    assert "<img" not in text


def test_a_path_that_is_not_there_is_told_as_a_page() -> None:
    answer = Browser().get("<script>alert(1)</script>")
    assert answer.status == 404
    assert "text/html" in answer.headers["content-type"]
    assert "<script>alert" not in answer.body.decode()


def test_a_method_that_is_not_taken_is_told_which_are() -> None:
    answer = Browser().ask("DELETE", "models")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_without_a_slash_one_gets_there_too() -> None:
    answer = asyncio.run(ask(Browser().app, "GET", "/dashboard"))
    assert (answer.status, answer.headers["location"]) == (308, "/dashboard/")


# what is done


def test_what_a_form_asks_for_is_done() -> None:
    browser = Browser()
    assert browser.act("models/load", LOAD).status == 200
    assert browser.act("models/unload", {"model": "org/big", "node": "beast", "force": "yes"}).status == 200
    assert browser.act("models/pin", {"model": "org/big", "node": "beast", "pinned": "true"}).status == 200
    assert browser.act("nodes/drain", {"node": "beast"}).status == 200
    assert browser.act("nodes/undrain", {"node": "beast"}).status == 200
    done = [asked for asked in browser.fleet.asked if isinstance(asked, LoadCall | UnloadCall | PinCall | tuple)]
    assert done == [
        LoadCall(model="org/big", node="beast"),
        UnloadCall(model="org/big", node="beast", force=True),
        PinCall(model="org/big", node="beast", pinned=True),
        ("beast", True),
        ("beast", False),
    ]


POSTS = [action for action in ACTIONS if action.method == "POST"]


@pytest.mark.parametrize("action", POSTS, ids=lambda action: action.path)
def test_no_form_is_taken_without_its_token(action: object) -> None:
    browser = Browser()
    browser.get("")
    form = {**LOAD, "pinned": "true"}
    for token in ("", "x" * 24, "ü", Browser().token()):
        assert browser.post(action.path, {**form, "token": token}).status == 403  # type: ignore[attr-defined]
    assert browser.fleet.asked == []


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}]
)
def test_nor_from_a_page_of_somebody_else_even_with_it(headers: dict[str, str]) -> None:
    browser = Browser()
    assert browser.act("models/load", LOAD, **headers).status == 403
    assert browser.fleet.asked == []


def test_a_script_of_ours_may_show_the_token_in_a_header() -> None:
    browser = Browser()
    token = browser.token()
    assert browser.post("nodes/drain", {"node": "beast"}, x_cortex_token=token).status == 200


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_what_is_no_form_is_not_read(content_type: str) -> None:
    browser = Browser()
    browser.get("")
    assert browser.ask("POST", "models/load", b"{}", content_type=content_type).status == 400
    assert browser.fleet.asked == []


def test_a_form_that_is_too_large_or_too_long_is_refused() -> None:
    browser = Browser()
    browser.get("")
    assert browser.ask("POST", "models/load", b"a=" + b"x" * (1 << 17), content_type=FORM).status == 413
    assert browser.ask("POST", "models/load", b"&".join([b"a=1"] * 1000), content_type=FORM).status == 400
    assert browser.ask("POST", "models/load", b"\xff=1", content_type=FORM).status == 400


def test_a_refusal_is_told_with_its_reason_as_a_page_and_as_a_part() -> None:
    browser = Browser()
    token = browser.token()
    browser.fleet.refusal = NodeRefused("beast refused: its disk is <full>", node="beast")
    page = browser.post("nodes/drain", {"node": "beast", "token": token})
    assert page.status == 409
    assert "its disk is &lt;full&gt;" in page.body.decode()
    part = browser.post("nodes/drain", {"node": "beast", "token": token}, hx_request="true")
    assert part.status == 200  # it goes into the dialog, where it is no failure
    assert "its disk is &lt;full&gt;" in part.body.decode()
    assert "<!doctype" not in part.body.decode()


def test_a_defect_is_told_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    browser = Browser()

    def broken() -> None:
        raise RuntimeError("the secret of the house")

    browser.fleet.view = broken  # type: ignore[method-assign, assignment]
    answer = browser.get("")
    assert answer.status == 500
    assert "secret" not in answer.body.decode()
    assert "the secret of the house" in caplog.text


# who is there


def test_with_keys_nothing_is_shown_before_one_has_signed_in() -> None:
    browser = Browser(book_of(record()))
    for page in PAGES:
        answer = browser.get(page.path, "model=org/big")
        assert (answer.status, answer.headers["location"][:19]) == (303, "/dashboard/sign-in?"[:19]), page.name
        assert answer.body == b""
    for action in POSTS:
        assert browser.post(action.path, {**LOAD, "token": "x"}).status == 303
    assert browser.get("live/fleet").status == 401
    assert browser.get("models", hx_request="true").status == 401
    assert browser.fleet.asked == []


def test_what_the_front_door_refuses_is_told_as_a_page() -> None:
    browser = Browser()

    async def refused(scope: dict[str, object], receive: object, send: object) -> None:
        await browser.app({**scope, "cortex.refusal": StoreUnavailable("the store is <silent>")}, receive, send)  # type: ignore[arg-type]

    answer = asyncio.run(ask(refused, "GET", "/dashboard/"))  # type: ignore[arg-type]
    assert answer.status == 503
    assert "the store is &lt;silent&gt;" in answer.body.decode()
    assert "retry-after" in answer.headers


def test_who_did_what_is_written_down_without_what_would_harm_a_log(caplog: pytest.LogCaptureFixture) -> None:
    browser = Browser(book_of(record()))
    browser.post("sign-in", {"key": OPERATOR})
    with caplog.at_level("INFO"):
        browser.act("nodes/drain", {"node": "beast"})
        browser.act("models/pin", {"model": "a\nforged line", "node": "beast", "pinned": "true"})
    said = [entry.getMessage() for entry in caplog.records if "dashboard" in entry.name]
    assert "nodes/drain by olga: node='beast'" in said
    assert all("\n" not in line and "token" not in line for line in said)
    assert len(said) == 2

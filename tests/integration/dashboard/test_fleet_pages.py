"""Fleet, models and decisions in a real browser before a real fleet: every action, by mouse and by keyboard."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.integration.dashboard.browser import LIMIT_MS, chromium, watched
from tests.integration.dashboard.house import BIG, CODER, HOSTILE, SMALL, house, load, make_key
from tests.integration.fleet.fleet import Fleet

expect.set_options(timeout=LIMIT_MS)


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with house(tmp_path_factory.mktemp("dashboard")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def page(it: Fleet, browser: Browser) -> Iterator[Page]:
    with watched(browser, it.gateway.url) as one:
        yield one


def until_live(page: Page) -> None:
    expect(page.locator("#link")).to_have_text("live")


def focus_by_tab(page: Page, name: str) -> None:
    """Press Tab until something of this name has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if (
            page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText")
            == name
        ):
            return
    raise AssertionError(f"{name} is not reached by the keyboard")


def test_the_fleet_is_seen_at_a_glance_and_stays_live(it: Fleet, page: Page) -> None:
    page.goto("/")
    expect(page).to_have_url(it.gateway.url + "/dashboard/")
    for landmark in ("banner", "main", "contentinfo"):
        expect(page.get_by_role(landmark)).to_have_count(1)  # type: ignore[arg-type]
    expect(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Fleet")).to_have_attribute(
        "aria-current", "page"
    )
    expect(page.get_by_role("region", name="The fleet in numbers")).to_contain_text("2 of 2")
    beast, benjy = page.get_by_role("region", name="beast"), page.get_by_role("region", name="benjy")
    expect(beast.get_by_role("table", name="Devices of beast").get_by_role("row")).to_have_count(3)
    expect(benjy).to_contain_text("Nothing is loaded here.")
    until_live(page)
    load(it, SMALL, "benjy")
    row = benjy.get_by_role("table", name="Instances on benjy").get_by_role("row", name=SMALL)
    expect(row).to_contain_text("loaded")
    expect(benjy.get_by_role("img", name=re.compile("small 3000 MiB"))).to_be_visible()
    it.node("benjy").board.strangers(1500)
    expect(benjy).to_contain_text("strangers")
    it.node("benjy").board.strangers(0)
    assert it.gateway.ask(SMALL)[0] == 200
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_model_is_loaded_with_who_has_to_go_shown_before_all_by_the_keyboard(it: Fleet, page: Page) -> None:
    load(it, CODER, "beast")
    load(it, SMALL, "beast")
    it.wait_until(lambda: bool(it.gateway.get(f"/admin/v1/plan?model={BIG}&node=beast")[1]["evicts"]))
    page.goto("/dashboard/models")
    until_live(page)
    expect(page.get_by_role("row", name=HOSTILE)).to_contain_text("unloaded")  # as text, and it has not run
    focus_by_tab(page, f"Load {BIG}")
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog", name=f"Load {BIG}")
    expect(sheet).to_contain_text("would have to go")
    where = sheet.get_by_label("Where")
    expect(where).to_be_focused()
    where.select_option("benjy")
    expect(sheet).to_contain_text("No node can load it.")
    expect(sheet.get_by_role("button", name="Load")).to_have_count(0)
    sheet.get_by_label("Where").select_option("beast")
    expect(sheet.get_by_role("row", name=re.compile("coder|small"))).to_have_count(1)
    focus_by_tab(page, "Evict and load")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name=BIG)).to_contain_text(re.compile("It is loading|It waits|It is loaded"))
    page.keyboard.press("Enter")  # Close has the focus
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("link", name=f"Load {BIG}")).to_be_focused()
    expect(page.get_by_role("row", name=BIG)).to_contain_text("beast")
    it.wait_until(lambda: BIG in it.node("beast").loaded())
    page.get_by_role("link", name=BIG, exact=True).click()
    expect(page.get_by_role("heading", level=1, name=BIG)).to_be_visible()
    explained = page.get_by_role("region", name="Where it could be")
    expect(explained.get_by_role("row", name="benjy")).to_contain_text("7000 MiB do not fit")
    until_live(page)
    who = explained.locator("details").first
    who.locator("summary").click()
    assert it.gateway.get("/admin/v1/pin", {"model": BIG, "node": "beast", "pinned": True})[0] == 200
    expect(page.get_by_role("region", name="Where it is")).to_contain_text("pinned")
    expect(who).to_have_attribute("open", "")  # what one has opened stays open while the page goes on
    assert it.gateway.get("/admin/v1/pin", {"model": BIG, "node": "beast", "pinned": False})[0] == 200


def test_a_model_is_pinned_unpinned_and_unloaded(it: Fleet, page: Page) -> None:
    load(it, SMALL, "benjy")
    page.goto("/dashboard/")
    until_live(page)
    row = page.get_by_role("table", name="Instances on benjy").get_by_role("row", name=SMALL)
    page.get_by_role("link", name=f"Pin {SMALL} on benjy", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Pin").click()
    expect(page.get_by_role("dialog")).to_contain_text("It is pinned on benjy.")
    page.keyboard.press("Escape")
    expect(row).to_contain_text("pinned")
    page.get_by_role("link", name=f"Unpin {SMALL} on benjy").click()
    page.get_by_role("dialog").get_by_role("button", name="Unpin").click()
    expect(page.get_by_role("dialog")).to_contain_text("It is not pinned on benjy.")
    page.keyboard.press("Escape")
    page.get_by_role("link", name=f"Unload {SMALL} from benjy").click()
    sheet = page.get_by_role("dialog", name=f"Unload {SMALL} from benjy")
    sheet.get_by_label("Cut what still runs").check()
    sheet.get_by_role("button", name="Unload").click()
    expect(page.get_by_role("dialog", name=SMALL)).to_contain_text("benjy")
    page.get_by_role("dialog").get_by_role("link", name="Close").click()
    expect(row).to_have_count(0)
    assert SMALL not in it.node("benjy").loaded()


def test_a_refusal_and_a_failed_load_are_told_with_their_reasons(it: Fleet, browser: Browser) -> None:
    load(it, SMALL, "benjy")
    with watched(browser, it.gateway.url, expected=("status of 403",)) as page:
        page.goto("/dashboard/")
        page.get_by_role("link", name=f"Unload {SMALL} from benjy").click()
        expect(page.get_by_role("dialog")).to_contain_text("Cut what still runs")
        token = page.locator("dialog input[name=token]").first
        token.evaluate("field => { field.value = 'forged'; }")
        page.get_by_role("dialog").get_by_role("button", name="Unload").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("reload the page")
        assert SMALL in it.node("benjy").loaded()
        page.keyboard.press("Escape")
        it.node("benjy").board.break_engines(True)
        page.goto(f"/dashboard/models/load?model={HOSTILE}&node=benjy")  # as a page of its own, too
        page.get_by_role("button", name="Load").click()
        page.goto(f"/dashboard/models/one?model={HOSTILE}")
        failed = page.get_by_role("region", name="Where it failed")
        expect(failed).to_contain_text("benjy")
        failed.get_by_text("Last words of the engine").first.click()
        expect(failed.locator("pre").first).to_be_visible()
        it.node("benjy").board.break_engines(False)


def test_a_node_is_drained_with_what_moves_shown_before_and_taken_back(it: Fleet, page: Page) -> None:
    load(it, SMALL, "benjy")
    page.goto("/dashboard/")
    until_live(page)
    benjy = page.get_by_role("region", name="benjy")
    benjy.get_by_role("link", name="Drain benjy for maintenance").click()
    sheet = page.get_by_role("dialog", name="Drain benjy")
    expect(sheet.get_by_role("row", name=SMALL)).to_contain_text(
        re.compile("is loaded on beast first|is unloaded|stays")
    )
    sheet.get_by_role("button", name="Drain").click()
    expect(page.get_by_role("dialog")).to_contain_text("Nothing new is placed there")
    page.keyboard.press("Escape")
    expect(benjy).to_contain_text("maintenance")
    benjy.get_by_role("link", name="Take benjy back from maintenance").click()
    page.get_by_role("dialog").get_by_role("button", name="Take back").click()
    expect(page.get_by_role("dialog")).to_contain_text("It takes models again.")
    page.keyboard.press("Escape")
    expect(benjy.get_by_role("link", name="Drain benjy for maintenance")).to_be_visible()


def test_decisions_are_followed_and_narrowed_down(it: Fleet, page: Page) -> None:
    page.goto("/dashboard/decisions")
    until_live(page)
    log = page.get_by_role("region", name="Decisions, the newest first")
    newest = log.get_by_role("row").nth(1)
    assert it.gateway.get("/admin/v1/pin", {"model": SMALL, "node": "benjy", "pinned": False})[0] == 200
    expect(newest).to_contain_text("an operator wants it not pinned")
    page.get_by_label("Kind").select_option("maintenance")
    expect(page).to_have_url(re.compile("kind=maintenance"))
    expect(log.get_by_role("row").nth(1)).to_contain_text("an operator takes it")
    page.get_by_label("Model").fill("lab/none")
    page.get_by_role("button", name="Show").click()
    expect(log.get_by_role("alert")).to_contain_text("lab/none")


def test_a_page_that_is_not_live_at_once_becomes_so_and_keeps_what_it_shows(it: Fleet, browser: Browser) -> None:
    with watched(browser, it.gateway.url, expected=("status of 503",)) as page:
        page.route("**/dashboard/live/**", lambda route: route.fulfill(status=503, body="no"), times=1)
        page.goto("/dashboard/")
        expect(page.locator("#link")).to_have_text("connecting again…")
        expect(page.get_by_role("region", name="beast")).to_be_visible()
        until_live(page)


def test_light_and_dark_wide_and_narrow(it: Fleet, browser: Browser) -> None:
    phone = {"width": 390, "height": 800}
    with watched(browser, it.gateway.url, viewport=phone, color_scheme="dark") as page:
        for path in (
            "/dashboard/",
            "/dashboard/models",
            "/dashboard/decisions",
            f"/dashboard/models/one?model={SMALL}",
        ):
            page.goto(path)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= phone["width"], f"{path} is {width} wide"
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(17, 20, 23)"
        page.get_by_role("button", name="Switch between light and dark").click()
        page.reload()
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(245, 246, 247)"


def test_without_scripts_everything_is_done_all_the_same(it: Fleet, browser: Browser) -> None:
    with watched(browser, it.gateway.url, java_script_enabled=False) as page:
        page.goto("/dashboard/models")
        page.get_by_role("link", name=f"Load {HOSTILE}").click()
        expect(page.get_by_role("heading", name=f"Load {HOSTILE}")).to_be_visible()
        page.get_by_role("button", name=re.compile("^Load$|^Evict and load$")).click()
        expect(page.get_by_role("main")).to_contain_text(re.compile("It is loading|It is loaded|It waits"))
        page.get_by_role("link", name="Close").click()
        expect(page).to_have_url(it.gateway.url + "/dashboard/")


def test_with_keys_one_signs_in_and_out(it: Fleet, browser: Browser) -> None:
    """The last of all: from here on this fleet asks for keys."""
    secret = make_key(it, "olga")
    it.wait_until(lambda: it.gateway.get("/admin/v1/nodes")[0] == 401)
    with watched(browser, it.gateway.url, expected=("status of 401",)) as page:
        page.goto("/dashboard/decisions?kind=load")
        expect(page).to_have_url(re.compile(r"/dashboard/sign-in\?to="))
        page.get_by_label("Operator's key").fill("ctx-wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("no key of an operator")
        page.get_by_label("Operator's key").fill(secret)
        page.keyboard.press("Enter")
        expect(page).to_have_url(it.gateway.url + "/dashboard/decisions?kind=load")
        until_live(page)
        (cookie,) = [cookie for cookie in page.context.cookies() if cookie["name"] == "cortex_session"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert secret not in str(page.context.cookies())
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(re.compile(r"/dashboard/sign-in$"))
        page.goto("/dashboard/")
        expect(page).to_have_url(re.compile(r"/dashboard/sign-in$"))

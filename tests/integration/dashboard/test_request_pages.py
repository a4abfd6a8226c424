"""Activity, history, logs, the playground, keys and usage in a real browser before a real fleet, with real answers."""

import base64
import csv
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.integration.dashboard.browser import LIMIT_MS, chromium, watched
from tests.integration.dashboard.house import HOSTILE, SMALL, house, load, make_key
from tests.integration.fleet.fleet import Fleet, chat

expect.set_options(timeout=LIMIT_MS)

DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf50000003820181a4e1"
    "a34c0000000049454e44ae426082"
)
"""A PNG of one pixel."""
STOP_AT_THE_FIRST_WORD = """() => {
  const stop = document.getElementById("play-stop");
  new MutationObserver(() => {
    const said = document.querySelector(".turn:last-child[data-role=assistant] > .said");
    if (!stop.hidden && said?.textContent) stop.click();
  }).observe(document.getElementById("transcript"), { childList: true, subtree: true, characterData: true });
}"""

READ_CUT = """async (size) => {
  const text = [
    ": loading on beäst\\r\\n\\n", 'event: a\\ndata: {"x":\\ndata: "ü€😀"}\\n\\n', "data:[DONE]\\r\\n\\r\\n",
    "data: cut off",
  ].join("");
  const bytes = new TextEncoder().encode(text), seen = [], notes = [];
  const body = new ReadableStream({ start(stream) {
    for (let at = 0; at < bytes.length; at += size) stream.enqueue(bytes.slice(at, at + size));
    stream.close();
  } });
  await playgroundDialects.readEvents(body, (one) => seen.push([one.event, one.data]), (note) => notes.push(note));
  return [seen, notes];
}"""


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with house(tmp_path_factory.mktemp("requests")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def page(it: Fleet, browser: Browser) -> Iterator[Page]:
    with watched(browser, it.gateway.url) as one:
        yield one


def say(page: Page, text: str) -> Locator:
    """Say something in the playground, and wait for the answer; return its turn."""
    page.get_by_role("textbox", name="Message").fill(text)
    page.get_by_role("textbox", name="Message").press("Enter")
    turn = page.locator(".turn[data-role=assistant]").last
    expect(turn.locator(".figures")).to_contain_text("in all")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    return turn


def ask_with(it: Fleet, secret: str) -> int:
    """Ask for a word with a key; return the status."""
    headers = {"content-type": "application/json", "x-api-key": secret}
    body = json.dumps(chat(SMALL, max_tokens=4)).encode()
    request = urllib.request.Request(it.gateway.url + "/v1/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_conversation_is_held_in_both_dialects_and_its_requests_are_seen(it: Fleet, page: Page) -> None:
    page.goto(f"/dashboard/playground?model={SMALL}")
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    page.get_by_label("Tokens at most").fill("24")
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("System prompt").fill("Be short.")
    first = say(page, "Hello!")  # and the model is loaded for it
    expect(first.locator("> .said")).not_to_be_empty()
    figures = first.locator(".figures")
    for words in ("first token after", "tokens/s", "24 out", "ended by length"):
        expect(figures).to_contain_text(words)
    page.get_by_label("Anthropic").check()
    page.get_by_text("The request as curl").click()
    second = say(page, "It's me.")
    expect(second.locator("> .said")).not_to_be_empty()
    expect(second.locator(".figures")).to_contain_text("ended by max_tokens")
    page.get_by_role("textbox", name="Message").fill("What's next?")
    curl = page.get_by_label("The request as curl").text_content() or ""
    assert curl.startswith(f"curl -N {it.gateway.url}/v1/messages \\\n")
    assert "anthropic-version" in curl
    assert "It'\\''s me." in curl
    assert '"system": "Be short."' in curl
    assert "ctx-" not in curl
    page.goto("/dashboard/activity")
    over = page.get_by_role("table", name="Finished requests, the newest first").get_by_role("row", name=SMALL)
    expect(over).to_have_count(2)
    expect(over.nth(0)).to_contain_text("messages")
    expect(over.nth(1)).to_contain_text("cold")
    details = over.nth(1).get_by_role("link", name="Details of request")
    details.focus()
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog", name="Request")
    expect(sheet).to_contain_text("Why it was cold")
    expect(sheet).to_contain_text("the load took")
    expect(sheet).to_contain_text("127.0.0.1")
    page.keyboard.press("Escape")
    expect(details).to_be_focused()


def test_events_are_read_whole_however_they_are_cut(page: Page) -> None:
    page.goto("/dashboard/playground")
    for size in (1, 2, 3, 7, 1000):
        seen, notes = page.evaluate(READ_CUT, size)
        assert seen == [["a", '{"x":\n"ü€😀"}'], ["", "[DONE]"]]
        assert notes == ["loading on beäst"]


def test_a_picture_is_sent_and_an_engine_that_does_not_see_says_so(it: Fleet, browser: Browser) -> None:
    load(it, SMALL)
    data, sent = base64.b64encode(DOT).decode(), []
    parts = {
        "OpenAI": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        "Anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
    }
    with watched(browser, it.gateway.url, expected=("status of 4", "status of 5")) as page:
        page.on("request", lambda asked: sent.append(asked.post_data_json) if "/playground/v1/" in asked.url else None)
        page.goto(f"/dashboard/playground?model={SMALL}")
        for number, dialect in enumerate(parts):
            page.get_by_label(dialect).check()
            if not number:
                page.get_by_label("Pictures…").set_input_files(
                    {"name": "dot.png", "mimeType": "image/png", "buffer": DOT}
                )
            expect(page.get_by_role("button", name="Remove dot.png")).to_be_visible()
            turn = say(page, "What is this?")
            expect(turn.get_by_role("alert")).to_contain_text("image input is not supported")
            said = sent[-1]["messages"][-1]["content"]
            assert parts[dialect] in said, said
            assert {"type": "text", "text": "What is this?"} in said
            expect(page.locator(".turn[data-role=user]").last.get_by_role("img", name="dot.png")).to_be_visible()
            expect(page.get_by_role("textbox", name="Message")).to_have_value("What is this?")  # to be sent again
        page.get_by_role("button", name="Remove dot.png").click()
        page.get_by_label("Tokens at most").fill("4")
        expect(say(page, "Then without it.").locator("> .said")).not_to_be_empty()
        page.get_by_role("button", name="New conversation").click()
        expect(page.get_by_text("Nothing was said yet.")).to_be_visible()
        page.goto("/dashboard/activity?outcome=engine_error")
        expect(page.get_by_role("row", name=SMALL)).to_have_count(2)


def test_an_answer_is_stopped(it: Fleet, page: Page) -> None:
    load(it, SMALL)
    page.goto(f"/dashboard/playground?model={SMALL}")
    page.get_by_label("Tokens at most").fill("100000")
    page.evaluate(STOP_AT_THE_FIRST_WORD)
    turn = say(page, "Talk without an end.")
    expect(turn.locator(".figures")).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    it.wait_until(it.gateway.is_at_rest)


def test_a_request_that_waits_for_its_model_is_seen_with_why_until_it_is_over(it: Fleet, page: Page) -> None:
    page.goto("/dashboard/activity")
    expect(page.locator("#link")).to_have_text("live")
    waiting = page.get_by_role("table", name="Requests that run, the oldest first").get_by_role("row", name=HOSTILE)
    for node in it.nodes.values():
        node.board.hold_loads(True)
    with ThreadPoolExecutor(1) as pool:
        try:
            asking = pool.submit(it.gateway.ask, HOSTILE, max_tokens=4)
            expect(waiting).to_contain_text("loading")
            waiting.get_by_role("link", name="Details of request").click()
            sheet = page.get_by_role("dialog", name="Request")
            expect(sheet).to_contain_text("Why it waits")
            expect(sheet).to_contain_text("placement")
            page.keyboard.press("Escape")
        finally:
            for node in it.nodes.values():
                node.board.hold_loads(False)
        assert asking.result()[0] == 200
    expect(waiting).to_have_count(0)
    over = page.get_by_role("table", name="Finished requests, the newest first").get_by_role("row", name=HOSTILE)
    expect(over.first).to_contain_text("cold")


def test_figures_are_drawn_and_told_in_tables(it: Fleet, page: Page) -> None:
    load(it, SMALL)
    assert it.gateway.ask(SMALL)[0] == 200
    page.goto("/dashboard/history")
    requests = page.get_by_role("region", name="Requests per second", exact=True)
    expect(requests.locator("canvas")).to_be_visible()  # after a step of ten seconds
    requests.get_by_text("As a table").click()
    expect(requests.get_by_role("columnheader")).to_have_text(["From", "requests", "errors"])
    expect(requests.get_by_role("row")).not_to_have_count(1)
    memory = page.get_by_role("region", name="Memory in use, by node")
    expect(memory.locator(".u-legend")).to_contain_text("beast")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(requests.locator("canvas")).to_be_visible()
    page.get_by_role("combobox", name="Model").fill(SMALL)
    page.get_by_label("Span").select_option("24h")
    expect(page).to_have_url(re.compile("span=24h"))
    expect(page.get_by_text(f"requests for {SMALL}")).to_be_visible()


def test_a_log_is_followed_paused_searched_and_ends_with_its_engine(it: Fleet, page: Page) -> None:
    load(it, SMALL, "benjy")
    page.goto("/dashboard/logs")
    page.get_by_label("Engine", exact=True).select_option(f"benjy {SMALL}")
    state, log = page.locator("#log-state"), page.get_by_role("log")
    expect(state).to_have_text("live")
    expect(log.locator("span")).not_to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("paused")
    while it.gateway.ask(SMALL)[0] == 200 and not re.search(r"\d+ lines wait", state.text_content() or ""):
        expect(state).to_contain_text("paused")
    page.get_by_role("button", name="Go on").click()
    expect(state).to_have_text("live")
    page.get_by_label("Show only lines that have").fill("no line has this")
    expect(log.locator("span:visible")).to_have_count(0)
    page.get_by_label("Show only lines that have").fill("")
    page.get_by_role("button", name="Clear").click()
    expect(log.locator("span")).to_have_count(0)
    wish = {"model": SMALL, "node": "benjy", "force": True, "wait": True}
    assert it.gateway.get("/admin/v1/unload", wish)[0] == 200
    expect(state).to_have_text("ended: The engine was unloaded, or has failed.")


def test_a_log_that_nobody_has_is_told(page: Page) -> None:
    page.goto("/dashboard/logs?model=lab/none&node=beast")
    expect(page.get_by_role("alert")).to_contain_text("No model named 'lab/none' is known")
    page.goto(f"/dashboard/logs?model={SMALL}&node=nobody")
    expect(page.get_by_role("alert")).to_contain_text("No node 'nobody' is configured")


def test_wide_pages_fit_a_phone(it: Fleet, browser: Browser) -> None:
    with watched(browser, it.gateway.url, viewport={"width": 390, "height": 800}, color_scheme="dark") as page:
        for name in ("activity", "history", "playground", f"logs?model={SMALL}&node=benjy", "keys", "usage"):
            page.goto(f"/dashboard/{name}")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, f"{name} is {width} wide"


def test_usage_is_summed_up_and_taken_home(it: Fleet, page: Page, tmp_path: Path) -> None:
    load(it, SMALL)
    assert it.gateway.ask(SMALL)[0] == 200
    it.wait_until(lambda: bool(it.gateway.get("/admin/v1/usage?by=model")[1]["sums"]))
    page.goto("/dashboard/usage")
    page.get_by_label("By", exact=True).select_option("model")
    page.get_by_label("and", exact=True).select_option("day")
    table = page.get_by_role("table", name="Usage by model and day")
    expect(table.get_by_role("row", name=SMALL)).to_contain_text(re.compile(r"\d{4}-\d\d-\d\d"))
    expect(page.get_by_role("img", name="Tokens by day")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    download.value.save_as(tmp_path / "usage.csv")
    assert download.value.suggested_filename == "cortex-usage-model-day.csv"
    rows = list(csv.DictReader((tmp_path / "usage.csv").read_text().splitlines()))
    assert int(next(row for row in rows if row["model"] == SMALL)["requests"]) >= 1
    page.get_by_label("Model", exact=True).fill("lab/none")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Nothing was used last 7 days that is like that.")).to_be_visible()


def test_keys_are_made_rotated_and_revoked_and_the_playground_is_the_operators(it: Fleet, browser: Browser) -> None:
    """The last of all: from here on this fleet asks for keys."""
    load(it, SMALL)
    with watched(browser, it.gateway.url, expected=("status of 401",)) as page:
        page.goto("/dashboard/keys")
        expect(page.get_by_text("There is no key")).to_be_visible()
        secret = make_key(it, "olga")
        it.wait_until(lambda: it.gateway.get("/admin/v1/nodes")[0] == 401)
        page.goto("/dashboard/keys")
        page.get_by_label("Operator's key").fill(secret)
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Make a key…").click()
        form = page.get_by_role("dialog", name="Make a key")
        expect(form.get_by_label("Name")).to_be_focused()
        for label, value in (
            ("Name", "bob"), ("Models", f"{SMALL}\nlab/co*"), ("Ends after (days)", "30"), ("Priority", "5"),
            ("tokens a day", "1 000 000"), ("requests at a time", "4"),
        ):  # fmt: skip
            form.get_by_label(label).fill(value)
        form.get_by_role("button", name="Make it").click()
        shown = page.locator("#secret")
        expect(shown).to_have_text(re.compile("^ctx-"))
        first = shown.text_content() or ""
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name=re.compile("Copied|Ctrl"))).to_be_visible()
        page.get_by_role("link", name="I have it").click()
        row = page.get_by_role("row", name="bob")
        for words in ("lab/co*", "1\u202f000\u202f000 tokens a day", "4 requests at a time", "inference"):
            expect(row).to_contain_text(words)
        assert first not in page.content()
        it.wait_until(lambda: ask_with(it, first) == 200)

        page.get_by_role("link", name="Give the key bob another secret").click()
        page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
        expect(shown).to_have_text(re.compile("^ctx-"))
        expect(shown).not_to_have_text(first)
        second = shown.text_content() or ""
        page.keyboard.press("Escape")
        it.wait_until(lambda: (ask_with(it, first), ask_with(it, second)) == (401, 200))

        page.get_by_role("link", name="Revoke the key bob").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert ask_with(it, second) == 200
        page.get_by_role("link", name="Revoke the key bob").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(page.get_by_role("dialog")).to_contain_text("holds no longer")
        page.keyboard.press("Escape")
        expect(row).to_contain_text("revoked")
        it.wait_until(lambda: ask_with(it, second) == 401)

        page.goto(f"/dashboard/playground?model={SMALL}")
        page.get_by_label("Tokens at most").fill("4")
        for dialect in ("OpenAI", "Anthropic"):
            page.get_by_label(dialect).check()
            expect(say(page, "Hello!").locator("> .said")).not_to_be_empty()
        page.goto("/dashboard/activity?key=olga")
        expect(page.get_by_role("row", name=SMALL)).to_have_count(2)
        page.goto("/dashboard/usage?by=key&key=bob")
        expect(page.get_by_role("table", name="Usage by key").get_by_role("row", name="bob")).to_be_visible()

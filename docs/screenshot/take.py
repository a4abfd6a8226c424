"""Takes the pictures of docs/dashboard.md: a real fleet, a real browser.

    python docs/screenshot/take.py [FOLDER]

Run it in the repository, with what the tests need. Two nodes with GPUs that are files, neurons, engines and a gateway
are started, used a little, looked at and stopped. Writes to this folder unless another is named.
"""

import json
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from playwright.sync_api import Browser, Page, expect  # noqa: E402
from tests.integration.dashboard.browser import LIMIT_MS, chromium, watched  # noqa: E402
from tests.integration.dashboard.house import load, make_key  # noqa: E402
from tests.integration.fleet.fleet import Fleet, chat, entry, fleet, written  # noqa: E402
from tests.integration.neuron.neuron_process import answer_to  # noqa: E402

from cortex.kit.clock import SystemClock  # noqa: E402

GATEWAY = '\n[store]\nurl = "sqlite:///cortex.db"\n'
NODES = {"beast": (24_000, 24_000), "benjy": (16_000,)}
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


class Shot(NamedTuple):
    """One picture. ``click``: the label of a link that is followed first."""

    name: str
    path: str
    scheme: str = "light"
    size: dict[str, int] = DESK
    click: str = ""


SHOTS = (
    Shot("fleet", ""),
    Shot("fleet-dark", "", scheme="dark"),
    Shot("fleet-phone", "", size=PHONE),
    Shot("models", "models"),
    Shot("load", "models", click="Load qwen/qwen3-coder-30b"),
    Shot("model", "models/one?model=qwen/qwen3-coder-30b"),
    Shot("decisions", "decisions", scheme="dark"),
)

PAGES_OF_A_SESSION = (
    Shot("history-dark", "history", scheme="dark"),
    Shot("logs-dark", "logs?model=google/gemma-3-12b&node=beast", scheme="dark"),
    Shot("activity", "activity"),
    Shot("keys", "keys"),
    Shot("usage", "usage"),
)
"""Taken in the end: there are keys, and some traffic to be seen."""
TRAFFIC_S, PATIENCE_S = 75.0, 300.0


@contextmanager
def scene(folder: Path) -> Iterator[Fleet]:
    """Run a fleet that somebody uses."""
    sizes = {"google/gemma-3-12b": 9000, "qwen/qwen3-4b": 4000, "mistral/devstral-24b": 15_000}
    sizes |= {"qwen/qwen3-coder-30b": 20_000, "baai/bge-m3": 1500}
    models = []
    for name, takes_mb in sizes.items():
        weights = written(folder / f"{name.replace('/', '-')}.gguf", layers=60, takes_mb=takes_mb - 600)
        models.append(entry(name, weights, takes_mb, quant="Q4_K_M", aliases=[name.partition("/")[2]]))
    with fleet(folder / "fleet", NODES, models, gateway=GATEWAY) as it:
        it.node("benjy").board.strangers(2200)
        for name, node in zip(sizes, ("beast", "benjy", "beast"), strict=False):
            load(it, name, node)
        load(it, "baai/bge-m3", "benjy")
        assert it.gateway.get("/admin/v1/pin", {"model": "qwen/qwen3-4b", "node": "benjy", "pinned": True})[0] == 200
        yield it


def take(browser: Browser, it: Fleet, shot: Shot, folder: Path) -> None:
    """Take one picture."""
    with watched(browser, it.gateway.url, viewport=shot.size, color_scheme=shot.scheme) as page:
        page.goto(f"/dashboard/{shot.path}")
        expect(page.locator("#link")).to_have_text("live", timeout=LIMIT_MS)
        if shot.click:
            page.get_by_label(shot.click, exact=True).click()
            page.get_by_role("dialog").wait_for()
        shoot(page, folder / f"{shot.name}.png")


def shoot(page: Page, file: Path) -> None:
    """Write what the page shows, when it has settled."""
    page.evaluate("document.fonts.ready")
    page.screenshot(path=file, animations="disabled")
    print(f"{file.name}: {file.stat().st_size // 1000} kB")


def main() -> None:
    """Take them all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    with tempfile.TemporaryDirectory() as room, scene(Path(room)) as it, chromium() as browser:
        chats = [
            threading.Thread(target=it.gateway.ask, args=("gemma-3-12b",), kwargs={"max_tokens": 900}) for _ in "12"
        ]
        for one in chats:
            one.start()
        for shot in SHOTS:
            take(browser, it, shot, folder)
        for one in chats:
            one.join()
        secret = make_key(it, "olga")
        it.wait_until(lambda: it.gateway.get("/admin/v1/nodes")[0] == 401)
        with watched(browser, it.gateway.url, viewport=DESK) as page:
            page.goto("/dashboard/")
            shoot(page, folder / "sign-in.png")
        use(it, secret)
        later = [threading.Thread(target=ask, args=(it, secret, "gemma-3-12b", 900)) for _ in "12"]
        for one in later:
            one.start()
        for scheme in ("light", "dark"):
            with watched(browser, it.gateway.url, viewport=DESK, color_scheme=scheme) as page:
                page.goto("/dashboard/")
                page.get_by_label("Operator's key").fill(secret)
                page.keyboard.press("Enter")
                expect(page.locator("#link")).to_have_text("live", timeout=LIMIT_MS)
                for shot in PAGES_OF_A_SESSION:
                    if shot.scheme == scheme:
                        page.goto(f"/dashboard/{shot.path}")
                        expect(page.locator(SETTLED.get(shot.name, "main")).first).to_be_visible(timeout=LIMIT_MS)
                        shoot(page, folder / f"{shot.name}.png")
                if scheme == "light":
                    play(page)
                    shoot(page, folder / "playground.png")
        for one in later:
            one.join()


SETTLED = {"history-dark": "#plot-memory canvas", "logs-dark": "#log-state:text('live')", "usage": ".days"}
"""What is on a page once it shows what it is for."""


def use(it: Fleet, secret: str) -> None:
    """Make keys, and let them be used for a while."""
    secrets = {"olga": secret}
    for name, limits in (("alice", {"tokens_per_day": 2_000_000}), ("ci", {"requests_per_min": 600})):
        wish = {"name": name, "limits": limits, "models": [] if name == "alice" else ["gemma*", "google/*"]}
        secrets[name] = answer_to(f"{it.gateway.url}/admin/v1/keys", wish, _shown(secret))[1]["secret"]
    wish = {"model": "baai/bge-m3", "node": "benjy", "wait": True}
    assert answer_to(f"{it.gateway.url}/admin/v1/unload", wish, _shown(secret))[0] == 200
    ask(it, secret, "bge-m3", 30)  # which is cold
    clock = SystemClock()
    end_s = clock.now_s() + TRAFFIC_S
    models = ("gemma-3-12b", "qwen3-4b", "gemma-3-12b", "devstral-24b")
    for one, model, tokens in zip(cycle(secrets.values()), cycle(models), cycle((40, 200, 90, 350, 20))):
        ask(it, one if model != "devstral-24b" else secret, model, tokens)
        if clock.now_s() > end_s:
            return


def ask(it: Fleet, secret: str, model: str, tokens: int) -> None:
    """Hold a chat that is streamed, to its end; who may not is told so."""
    body = json.dumps(chat(model, max_tokens=tokens, stream=True)).encode()
    headers = {"content-type": "application/json", **_shown(secret)}
    request = urllib.request.Request(f"{it.gateway.url}/v1/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        error.close()


def _shown(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def play(page: Page) -> None:
    """Hold a conversation."""
    page.goto("/dashboard/playground?model=gemma-3-12b")
    page.get_by_label("System prompt").fill("Answer in one sentence.")
    page.get_by_label("Tokens at most").fill("48")
    for dialect, words in (("OpenAI", "What is a neuron?"), ("Anthropic", "And what is a cortex?")):
        page.get_by_label(dialect).check()
        page.get_by_role("textbox", name="Message").fill(words)
        page.keyboard.press("Enter")
        expect(page.locator(".turn").last.locator(".figures")).to_contain_text("in all", timeout=LIMIT_MS)
        expect(page.get_by_role("button", name="Send")).to_be_visible()


if __name__ == "__main__":
    main()

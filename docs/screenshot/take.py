"""Takes the pictures of docs/dashboard.md: a real fleet, a real browser.

    python docs/screenshot/take.py [FOLDER]

Run it in the repository, with what the tests need. Two nodes with GPUs that are files, neurons, engines and a gateway
are started, used a little, looked at and stopped. Writes to this folder unless another is named.
"""

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from playwright.sync_api import Browser, Page, expect  # noqa: E402
from tests.integration.dashboard.browser import LIMIT_MS, chromium, watched  # noqa: E402
from tests.integration.dashboard.house import load, make_key  # noqa: E402
from tests.integration.fleet.fleet import Fleet, entry, fleet, written  # noqa: E402

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
        for chat in chats:
            chat.start()
        for shot in SHOTS:
            take(browser, it, shot, folder)
        for chat in chats:
            chat.join()
        make_key(it, "olga")
        it.wait_until(lambda: it.gateway.get("/admin/v1/nodes")[0] == 401)
        with watched(browser, it.gateway.url, viewport=DESK) as page:
            page.goto("/dashboard/")
            shoot(page, folder / "sign-in.png")


if __name__ == "__main__":
    main()

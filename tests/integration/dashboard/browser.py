"""A headless Chromium that is told on: what it complains of, whom else it asks, what it was made to run.

    with chromium() as browser, watched(browser, url) as page:
        page.goto("/dashboard/")

Leaving the block asserts that the console had no error, that no policy was violated, that no dialog was opened, and
that no other host was asked for anything.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, sync_playwright

LIMIT_MS = 30_000
NAMES = ("chromium", "chromium-browser")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Run the system's browser. A missing one is a failure where CI says that it must be there, else a skip."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        words = f"no browser here ({' or '.join(NAMES)}, of the package chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    args = ["--no-sandbox", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=args)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def watched(browser: Browser, url: str, *, expected: tuple[str, ...] = (), **how: Any) -> Iterator[Page]:
    """Open a page in a browser of its own (cookies, storage). ``expected``: parts of complaints that are meant."""
    context = browser.new_context(base_url=url, **how)
    context.set_default_timeout(LIMIT_MS)
    page = context.new_page()
    complaints: list[str] = []
    ours = urlsplit(url).netloc

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text}")

    def on_dialog(dialog: Dialog) -> None:
        complaints.append(f"a script has run: {dialog.message}")
        dialog.dismiss()

    def on_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != ours:
            complaints.append(f"asked another host: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    page.on("dialog", on_dialog)
    page.on("request", on_request)
    try:
        yield page
        left = [complaint for complaint in complaints if not any(part in complaint for part in expected)]
        assert left == [], left
    finally:
        context.close()

"""Gateway and neuron as installed serve: with the shipped configuration, a store, pages and metrics."""

import contextlib
import os
import re
import select
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.packaging.rpm.test_install import SITE, payload

ANNOUNCED = {
    "cortex": re.compile(r"API on (127\.0\.0\.1:\d+), metrics on (127\.0\.0\.1:\d+)"),
    "cortex-neuron": re.compile(r"listening on http://(127\.0\.0\.1:\d+)"),
}
LIMIT_S = 60.0


@contextlib.contextmanager
def serving(root: Path, log: Path, *command: str, **env: str) -> Iterator[tuple[str, ...]]:
    """Run a daemon of the root until the block is left; yield the addresses that it says in its log."""
    whole = {key: value for key, value in os.environ.items() if not key.startswith("CORTEX_")} | env
    whole |= {"PYTHONPATH": str(root / SITE), "PYTHONDONTWRITEBYTECODE": "1"}
    line = [sys.executable, "-P", str(root / "usr/bin" / command[0]), *command[1:]]
    with log.open("wb") as out:
        process = subprocess.Popen(line, env=whole, cwd=root, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield announced(process, log, ANNOUNCED[command[0]])
        process.terminate()
        assert process.wait(LIMIT_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def announced(process: subprocess.Popen[bytes], log: Path, words: re.Pattern[str]) -> tuple[str, ...]:
    """Wait for a line of the log; return what it names."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := words.search(log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        select.select([], [], [], 0.05)
    return found.groups()


def page(address: str, path: str) -> str:
    """Return a page; one that is a 503 (as long as no node was asked) is asked for again."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        status, told = answer(address, path)
        if status == 200:
            return told
        assert status == 503, f"{path}: {status} {told}"
        assert time.monotonic() < deadline, f"{path}: {told}"
        select.select([], [], [], 0.1)


def answer(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=LIMIT_S) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


@pytest.fixture(scope="module")
def neuron(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config, state = installed / "etc/cortex/neuron.toml", tmp_path_factory.mktemp("state")
    env = {"CORTEX_NEURON_PORT": "0", "CORTEX_NEURON_HOST": "127.0.0.1", "CORTEX_NEURON_STATE_DIR": str(state)}
    with serving(installed, state / "neuron.log", "cortex-neuron", "--config", str(config), **env) as (address,):
        yield address


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/cortex.db"


@pytest.fixture(scope="module")
def gateway(
    installed: Path, neuron: str, store: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, ...]]:
    log, config = tmp_path_factory.mktemp("gateway") / "log", installed / "etc/cortex/cortex.toml"
    env = {
        "CORTEX_GATEWAY__LISTEN": "127.0.0.1:0",
        "CORTEX_GATEWAY__METRICS_LISTEN": "127.0.0.1:0",
        "CORTEX_STORE__URL": store,
        "CORTEX_NEURONS": f'[{{"name": "here", "endpoint": "http://{neuron}"}}]',
    }
    with serving(installed, log, "cortex", "serve", "--config", str(config), **env) as found:
        yield found


def test_the_gateway_finds_the_neuron_and_both_tell_their_metrics(gateway: tuple[str, ...], neuron: str) -> None:
    assert '"here"' in page(gateway[0], "/health")
    assert "cortex_requests_total" in page(gateway[1], "/metrics")
    assert '"hostname"' in page(neuron, "/discovery")


def test_the_dashboard_has_its_pages_and_what_they_name(gateway: tuple[str, ...]) -> None:
    text = page(gateway[0], "/dashboard")
    parts = [part for part in re.findall(r'(?:src|href)="(/[^"]+\.(?:css|js|svg))[^"]*"', text)]
    assert parts
    assert all(page(gateway[0], part) for part in parts)


def test_a_key_is_made_in_the_store_on_the_host(installed: Path, gateway: tuple[str, ...], store: str) -> None:
    config = str(installed / "etc/cortex/cortex.toml")
    said = payload(installed, "cortex", "keys", "create", "me", "--admin", "--config", config, CORTEX_STORE__URL=store)
    assert "(me, admin): its secret is not shown again" in said

"""A Prometheus of a test's own: the shipped configuration and rules, its data in a folder, on a free port of loopback.

It scrapes many times a second, and is ended by its id.
"""

import contextlib
import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.neuron.neuron_process import LIMIT_S, wait_until
from tests.port import free_port

SHIPPED = Path(__file__).parents[3] / "packaging" / "prometheus"
EVERY = "250ms"

Series = list[dict[str, Any]]


class Prometheus:
    """One that runs."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def get(self, path: str, **query: str) -> Any:
        """Return what an API answers."""
        data = urllib.parse.urlencode(query).encode() if query else None
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", data, timeout=LIMIT_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {error.read().decode()}") from None

    def ask(self, query: str) -> Series:
        """Return what a query gives now: a list of ``{"metric": labels, "value": [when, text]}``."""
        return list(self.get("query", query=query)["result"])

    def value(self, query: str) -> float:
        """Return the sum over what a query gives; 0 of nothing."""
        return sum(float(one["value"][1]) for one in self.ask(query))

    @property
    def log(self) -> str:
        return (self.folder / "prometheus.log").read_text()


def program(name: str) -> str:
    """Return where a program of Prometheus is; a missing one is a failure where CI says that it must be there."""
    found = shutil.which(name)
    if found is None:
        words = f"no {name} here (of the package prometheus or golang-github-prometheus)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return found


@contextlib.contextmanager
def prometheus(folder: Path, gateways: Mapping[str, str], neurons: Mapping[str, str]) -> Iterator[Prometheus]:
    """Run one that scrapes these addresses, by the names of gateways and of nodes."""
    binary, port = program("prometheus"), free_port()
    _configure(folder, gateways, neurons)
    argv = [
        *(binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    it = Prometheus(f"http://127.0.0.1:{port}", folder)
    try:
        wait_until(lambda: _is_ready(it, process), lambda: it.log)
        yield it
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LIMIT_S)
        process.kill()
        process.wait()


def _configure(folder: Path, gateways: Mapping[str, str], neurons: Mapping[str, str]) -> None:
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": EVERY, "evaluation_interval": EVERY}
    (folder / "target").mkdir(parents=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(SHIPPED / "cortex.rules.yml", folder)
    found = [{"targets": [address]} for address in gateways.values()]
    (folder / "target" / "cortex-gateway.yml").write_text(yaml.safe_dump(found))
    found = [{"targets": [address], "labels": {"node": name}} for name, address in neurons.items()]
    (folder / "target" / "cortex-neuron.yml").write_text(yaml.safe_dump(found))


def _is_ready(it: Prometheus, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, it.log
    try:
        with urllib.request.urlopen(f"{it.url}/-/ready", timeout=LIMIT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

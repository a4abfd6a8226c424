"""A real Prometheus watches a real fleet: every panel of every dashboard has something to show, every rule works.

The fleet does once, and once again, whatever there is to be counted: cold starts, evictions, a wait for a slot, a load
that fails, a request for which there is no room, a stream that its client leaves, requests with a key. A rate needs
both.
"""

import json
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from tests.integration.fleet.fleet import Entry, Fleet, chat, entry, fleet, written
from tests.integration.fleet.prometheus_process import Prometheus, Series, prometheus
from tests.integration.neuron.neuron_process import LIMIT_S, answer_to

DASHBOARDS = Path(__file__).parents[3] / "packaging" / "grafana" / "dashboard"
SECTION = """
access_log = false

[store]
url = "sqlite:///usage.db"
"""
PLACEHOLDERS = {"$__rate_interval": "1h", "$model": ".*", "$node": ".*", "$gateway": ".*", "$key": ".*"}
"""What Grafana puts there when everything is chosen."""

WITHOUT = {
    "Xid": "told by NVML only, and these GPUs are known by nvidia-smi",
    "Memory errors": "told by NVML only",
    "What drivers ask for": "told by NVML only, and only where something is wrong",
    "Certificates hold for": "this fleet has no TLS",
    "Spans": "this fleet sends none",
}
"""Panels that have nothing to show of this fleet, each with the reason."""

QUERIES = [
    pytest.param(panel["title"], target["expr"], id=f"{path.stem}-{panel['title']}-{target['refId']}")
    for path in sorted(DASHBOARDS.glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
    for target in panel.get("targets", ())
]


pytestmark = pytest.mark.timeout(300)  # everything is done before the first test: half a minute on an idle machine


class Watched:
    """A fleet, the Prometheus that watches it, and the secret of a key."""

    def __init__(self, it: Fleet, seer: Prometheus) -> None:
        self.fleet = it
        self.seer = seer
        self.secret: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.secret is None else {"authorization": f"Bearer {self.secret}"}

    def ask(self, model: str, **more: object) -> int:
        """Send one chat, with the key where there is one; return the status."""
        return answer_to(f"{self.fleet.gateway.url}/v1/chat/completions", chat(model, **more), self.headers)[0]

    def unload(self, model: str) -> None:
        """Unload a model, as an operator does."""
        wish, url = {"model": model, "node": "a", "wait": True}, f"{self.fleet.gateway.url}/admin/v1/unload"
        assert answer_to(url, wish, self.headers)[0] == 200

    def sdk(self) -> openai.OpenAI:
        url = f"{self.fleet.gateway.url}/v1"
        return openai.OpenAI(base_url=url, api_key=self.secret or "none", max_retries=0, timeout=LIMIT_S)

    def stream(self, model: str, *, leaves: bool = False) -> None:
        """Have a chat streamed; leave after its first content."""
        with self.sdk() as sdk:
            ask = [{"role": "user", "content": "Hello"}]
            tokens = 900 if leaves else 40
            chunks = sdk.chat.completions.create(model=model, messages=ask, max_tokens=tokens, stream=True)  # type: ignore[call-overload]
            for chunk in chunks:
                if leaves and chunk.choices and chunk.choices[0].delta.content:
                    chunks.response.close()
                    break

    def stream_with_gaps(self, model: str) -> None:
        """Have chats streamed until one has come in more than one read: only then there are gaps between tokens."""
        gateway, name = self.fleet.gateway, "gen_ai_server_time_per_output_token_seconds_count"
        before = gateway.metric(name)

        def is_counted() -> bool:
            self.stream(model)
            return gateway.metric(name) > before

        self.fleet.wait_until(is_counted)

    def ask_at_once(self, model: str, count: int) -> list[int]:
        """Send several chats at once; return their statuses."""
        said: list[int] = []
        threads = [threading.Thread(target=lambda: said.append(self.ask(model, max_tokens=100))) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        return said

    def seen(self) -> None:
        """Wait until Prometheus has seen all that has happened."""
        gateway = self.fleet.gateway
        self.fleet.wait_until(gateway.is_at_rest)
        for name in ("cortex_requests_total", "cortex_stream_aborts_total", "cortex_loads_total"):
            self.fleet.wait_until(lambda name=name: self.seer.value(f"sum({name})") == gateway.metric(name))
        for _ in range(2):  # a rate is made of two
            now_s = self.seer.value("vector(time())")
            for name in ("cortex_gateway_info", "cortex_neuron_info"):
                self.fleet.wait_until(lambda name=name, now_s=now_s: self.seer.value(f"timestamp({name})") > now_s)


def turn(it: Watched) -> None:
    """Let everything happen that is counted; lab/x is loaded after it."""
    board = it.fleet.node("a").board
    assert it.ask("lab/x") == 200
    it.stream_with_gaps("lab/x")
    assert it.ask_at_once("lab/x", 3) == [200] * 3
    it.stream("lab/x", leaves=True)
    assert it.ask("lab/huge") in (404, 503)
    assert it.ask("lab/y") == 200  # there is no room beside lab/x
    board.break_engines(True)
    assert it.ask("lab/broken") == 503
    board.break_engines(False)
    it.unload("lab/y")
    assert it.ask("lab/x") == 200


def make_key(it: Watched) -> str:
    """Make the first key, as an operator does on the gateway's host."""
    folder = it.fleet.gateway.folder
    argv = [sys.executable, "-P", "-m", "cortex", "keys", "create", "lab", "--admin", "--json"]
    argv += ["--config", str(folder / "cortex.toml")]
    run = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"})
    return str(json.loads(run.stdout)["secret"])


def reach_a_limit(it: Watched) -> None:
    """Make a key that may ask once a minute, and ask twice."""
    wish = {"name": "limited", "limits": {"requests_per_min": 1}}
    status, made = answer_to(f"{it.fleet.gateway.url}/admin/v1/keys", wish, it.headers)
    assert status < 300, made
    admin, it.secret = it.secret, made["secret"]
    it.fleet.wait_until(lambda: it.ask("lab/x") == 429)
    it.secret = admin


@pytest.fixture(scope="module")
def it(tmp_path_factory, quick, slow) -> Iterator[Watched]:
    """One node with room for one of the models, of which lab/x takes its time, and what a Prometheus has seen of it."""
    folder = tmp_path_factory.mktemp("prometheus")
    models: list[Entry] = [entry("lab/x", slow, 5000, parallel=1), entry("lab/y", quick, 5000)]
    small = written(tmp_path_factory.mktemp("model") / "broken.gguf", takes_mb=500)
    models += [entry("lab/huge", quick, 90_000), entry("lab/broken", small, 500)]
    with fleet(folder / "fleet", {"a": (8000,)}, models, gateway=SECTION) as running:
        gateway, neuron = running.gateway, running.node("a").neuron
        addresses = {"g": gateway.metrics_url.removeprefix("http://").removesuffix("/metrics")}, {"a": neuron.url[7:]}
        with prometheus(folder / "prometheus", *addresses) as seer:
            watched = Watched(running, seer)
            watched.seen()
            turn(watched)
            watched.seen()
            watched.secret = make_key(watched)
            running.wait_until(lambda: watched.ask("lab/x") == 200)
            watched.seen()
            turn(watched)
            reach_a_limit(watched)
            watched.seen()
            yield watched


def filled(query: str) -> str:
    for name, value in PLACEHOLDERS.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


def numbers(found: Series) -> list[float]:
    return [value for one in found if not math.isnan(value := float(one["value"][1]))]


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_a_panel_has_something_to_show(it: Watched, title: str, query: str) -> None:
    found = it.seer.ask(filled(query))
    assert bool(numbers(found)) != (title in WITHOUT), f"{query}: {found}"


def test_what_is_told_as_having_nothing_to_show_is_a_panel() -> None:
    titles = {param.values[0] for param in QUERIES}
    assert set(WITHOUT) <= titles


def test_every_rule_can_be_evaluated(it: Watched) -> None:
    rules = [rule for group in it.seer.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 40
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_what_is_recorded_has_values(it: Watched) -> None:
    rules = [rule for group in it.seer.get("rules")["groups"] for rule in group["rules"]]
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    assert [name for name in recorded if not numbers(it.seer.ask(name))] == []


def test_all_that_is_scraped_is_taken(it: Watched) -> None:
    targets = it.seer.get("targets")["activeTargets"]
    assert sorted((target["labels"]["job"], target["health"], target["lastError"]) for target in targets) == [
        ("cortex-gateway", "up", ""),
        ("cortex-neuron", "up", ""),
    ]


def test_the_dashboards_variables_have_values(it: Watched) -> None:
    for path in DASHBOARDS.glob("*.json"):
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
                assert it.seer.ask(f"count by ({label}) ({metric})"), variable["name"]


def test_the_figures_are_those_of_the_fleet(it: Watched) -> None:
    gateway, ask = it.fleet.gateway, it.seer.value
    assert ask('cortex_load_failures_total{model="lab/broken"}') >= 1
    assert ask('cortex_unloads_total{model="lab/y", reason="operator"}') == 2
    assert ask('cortex_stream_aborts_total{by="client"}') == 2
    assert ask('cortex_refusals_total{model="lab/huge"}') == 2
    assert ask("sum(cortex_evictions_total)") == gateway.metric("cortex_evictions_total") >= 2
    assert ask('cortex_key_requests_total{key="lab"}') >= 7
    assert ask('cortex_quota_denied_total{limit="requests_per_min"}') >= 1
    assert ask('cortex_device_memory_total_bytes{kind="cuda", node="a"}') == 8000 << 20

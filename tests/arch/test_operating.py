"""Alert rules, runbook and dashboards fit each other, and what they ask for is measured."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.arch.source import ROOT

from cortex.cli.command import app
from cortex.gateway.settings import GatewaySettings
from cortex.neuron.settings import NeuronSettings

PROMETHEUS = ROOT / "packaging" / "prometheus"
GRAFANA = ROOT / "packaging" / "grafana"
RUNBOOK = ROOT / "docs" / "operations" / "runbook.md"
METRICS = ROOT / "docs" / "metrics.md"

GROUPS = yaml.safe_load((PROMETHEUS / "cortex.rules.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
TESTS = yaml.safe_load((PROMETHEUS / "cortex.rules.test.yml").read_text())["tests"]

DASHBOARDS = {path.name: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboard").glob("*.json"))}
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]

MADE_BY_OTHERS = {
    "up",
    "ALERTS",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "python_gc_collections_total",
}
"""Of Prometheus itself, and of its client library about our processes."""

PARTS = {"Means", "Users see", "Look", "Do"}


def sections() -> dict[str, str]:
    """Return the runbook's sections by their titles."""
    found = re.split(r"^### (.*)$", RUNBOOK.read_text(), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def asked(query: str) -> set[str]:
    """Return the names of the series that a query asks for."""
    bare = re.sub(r'"[^"]*"|\b(?:by|on|without|ignoring|group_left)\s*\([^)]*\)|\{[^}]*\}|\[[^]]*\]', " ", query)
    return set(re.findall(r"\b(?:cortex[:_][\w:]+|gen_ai_\w+|process_\w+|python_\w+|up|ALERTS)\b", bare))


def documented() -> set[str]:
    """Return every series that can be asked for: those of a histogram are three."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS.read_text(), re.MULTILINE)
    return {
        f"{name}{suffix}"
        for name, kind in rows
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }


def looks() -> Iterator[tuple[str, bool]]:
    """Yield (alert, whether it is expected to fire) for every look of the rules' tests."""
    for test in TESTS:
        for look in test["alert_rule_test"]:
            yield look["alertname"], bool(look["exp_alerts"])


def test_names_in_queries_are_found() -> None:
    query = (
        'sum by (model, up) (rate(cortex_a_total{x="process_b", le=~"up"}[5m])) / on (up) cortex:b:ratio > up{job="c"}'
    )
    assert asked(query) == {"cortex_a_total", "cortex:b:ratio", "up"}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_and_where(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert re.search(r"\{\{ \$(labels|value)", notes["description"]) or "by (" not in rule["expr"], "it names no place"
    assert len(notes["summary"]) < 110


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_its_section_in_the_runbook(name: str) -> None:
    assert ALERTS[name]["annotations"]["runbook_url"].endswith(f"/operations/runbook.md#{name.lower()}")
    said = re.sub(r"\*\*Look\*\*, \*\*do\*\*", "**Look** **Do**", sections()[name])
    assert set(re.findall(r"\*\*(.*?)\*\*", said)) >= PARTS


def test_the_runbook_has_no_section_without_an_alert() -> None:
    assert list(sections()) == list(ALERTS), "in the order of the rules"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_tested_both_ways(name: str) -> None:
    assert {fires for alert, fires in looks() if alert == name} == {True, False}


def test_every_command_of_the_runbook_exists() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {group.name for group in app.registered_groups if group.name}
    told = set(re.findall(r"(?:`|\$ )cortex ([a-z]+)", RUNBOOK.read_text()))
    assert told <= names
    assert {"status", "decisions", "explain", "drain"} <= told


def test_what_the_runbook_names_in_the_configuration_and_the_apis_exists() -> None:
    pages = [ROOT / "docs" / f"{name}.md" for name in ("configuration", "errors", "metrics")]
    known = set(re.findall(r"`(\w+)`", "".join(page.read_text() for page in pages)))
    text = RUNBOOK.read_text()
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", text))
    assert {"max_waiting", "cortex_steward", "load_failed"} <= named <= known
    paths = set(re.findall(r"`GET (/admin/v1/\S+)`", text))
    assert paths
    assert paths <= set(re.findall(r"`GET (/admin/v1/\S+)`", (ROOT / "docs" / "admin-api.md").read_text()))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    assert asked(rule["expr"])
    assert asked(rule["expr"]) <= documented() | MADE_BY_OTHERS | RECORDED


@pytest.mark.parametrize(
    "argv",
    [
        ("check", "rules", "cortex.rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "cortex.rules.test.yml"),
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
def test_prometheus_own_tool_agrees(argv: tuple[str, ...]) -> None:
    program = shutil.which("promtool")
    if program is None:
        words = "no promtool here (of the package prometheus or golang-github-prometheus)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    run = subprocess.run([program, *argv], cwd=PROMETHEUS, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "SUCCESS" in run.stdout


def test_the_dashboards_are_as_their_generator_makes_them() -> None:
    run = subprocess.run(
        [sys.executable, str(GRAFANA / "build.py"), "--print"], capture_output=True, text=True, check=True
    )
    made = json.loads(run.stdout)
    assert set(made) == set(DASHBOARDS)
    for name, text in made.items():
        assert (GRAFANA / "dashboard" / name).read_text() == text, f"run {GRAFANA / 'build.py'}"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_has_a_name_that_lasts_and_its_variables_are_used(name: str) -> None:
    board = DASHBOARDS[name]
    assert f"{board['uid']}.json" == name
    assert board["uid"].startswith("cortex-")
    text = json.dumps(board["panels"])
    variables = {one["name"] for one in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)\b", text)) - {"__rate_interval"} == variables, "none too many, none too few"
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit_and_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert "unit" in defaults or panel["type"] == "state-timeline" or panel["options"]["yAxis"]["unit"]
    for target in panel["targets"]:
        assert asked(target["expr"]) <= documented() | MADE_BY_OTHERS
        assert target["datasource"]["uid"] == "${datasource}"
    for link in panel["links"]:
        assert link["url"].removeprefix("${runbook}#") in {alert.lower() for alert in ALERTS}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_two_panels_lie_on_each_other(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[name]["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_datasource_that_is_set_up_is_the_one_that_dashboards_choose() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "cortex.yml").read_text())["datasources"]
    for board in DASHBOARDS.values():
        chosen = next(one for one in board["templating"]["list"] if one["name"] == "datasource")
        assert chosen["current"]["value"] == source["uid"]


def test_the_scrape_configuration_names_the_jobs_that_rules_and_dashboards_expect() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    jobs = {one["job_name"] for one in config["scrape_configs"]}
    texts = json.dumps(RULES) + json.dumps(DASHBOARDS)
    assert set(re.findall(r'job=\\+"([\w-]+)\\+"', texts)) == jobs
    for one in config["scrape_configs"]:
        for pattern in one["file_sd_configs"][0]["files"]:
            assert yaml.safe_load((PROMETHEUS / pattern).read_text())


def test_the_targets_of_the_example_are_where_daemons_tell_their_metrics_by_default() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert [one.get("metrics_path", "/metrics") for one in config["scrape_configs"]] == ["/metrics"] * 2
    gateway, neuron = (
        yaml.safe_load((PROMETHEUS / "target" / f"{name}.yml").read_text())[0]
        for name in ("cortex-gateway", "cortex-neuron")
    )
    assert gateway["targets"] == [f"127.0.0.1:{GatewaySettings().gateway.metrics_listen.rpartition(':')[2]}"]
    assert neuron["targets"] == [f"127.0.0.1:{NeuronSettings().port}"]
    assert set(neuron["labels"]) == {"node"}, "rules and dashboards tell nodes apart by it"


def test_grafana_is_told_by_the_variables_that_the_page_names() -> None:
    texts = [path.read_text() for path in sorted((GRAFANA / "provisioning").glob("*/*.yml"))]
    named = {name for text in texts for name in re.findall(r"^[^#\n]*\$\{(\w+)\}", text, re.MULTILINE)}
    assert named == {"CORTEX_DASHBOARDS", "CORTEX_PROMETHEUS_URL"}
    assert all(f"`{name}`" in METRICS.read_text() for name in named)

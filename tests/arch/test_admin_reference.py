"""The page about the admin API says what is so: every call, every field, every kind of decision."""

import re
from typing import get_args

import msgspec
import pytest
from tests.arch.source import ROOT

from cortex.contract import activity, admin, engine_log, history, key, usage
from cortex.fleet.decision import KEPT as KEPT_DECISIONS
from cortex.fleet.decision import DecisionKind
from cortex.fleet.explain import DeviceNote, Explanation, InstanceNote, NodeNote, Verdict
from cortex.fleet.prospect import Prospect, ProspectKind
from cortex.gateway.admin import feed
from cortex.gateway.admin.operation import OPERATIONS, PREFIX
from cortex.gateway.admin.series import MAX_MODELS
from cortex.gateway.control.engine_log import MAX_READERS
from cortex.gateway.data.activity import KEPT as KEPT_REQUESTS

PAGE = (ROOT / "docs" / "admin-api.md").read_text()

FIELDS: dict[str, type[msgspec.Struct]] = {
    "One of nodes": admin.NodeEntry,
    "One of devices": admin.DeviceEntry,
    "One of models": admin.ModelEntry,
    "One of instances": admin.InstanceEntry,
    "One of queues": admin.QueueEntry,
    "One of callers": admin.CallerEntry,
    "GET /admin/v1/decisions": admin.DecisionQuery,
    "One of decisions": admin.DecisionEntry,
    "GET /admin/v1/explain": admin.ExplainQuery,
    "One of explained nodes": NodeNote,
    "The answer to a plan": Prospect,
    "POST /admin/v1/load": admin.LoadCall,
    "POST /admin/v1/unload": admin.UnloadCall,
    "POST /admin/v1/pin": admin.PinCall,
    "GET /admin/v1/activity": activity.ActivityQuery,
    "One of running": activity.RunningRequest,
    "One of finished": activity.FinishedRequest,
    "GET /admin/v1/nodes/{name}/models/{id}/logs": engine_log.LogQuery,
    "GET /admin/v1/usage": usage.UsageQuery,
    "One of sums": usage.UsageSum,
    "GET /admin/v1/usage/requests": usage.UsageRequestQuery,
    "One of requests": usage.UsageEntry,
    "One of keys": key.Key,
    "POST /admin/v1/keys": key.KeyWish,
}
"""Headings and the struct that each describes in a table."""

SHAPES: dict[str, type[msgspec.Struct]] = {
    "nodes": admin.NodeList,
    "models": admin.ModelList,
    "instances": admin.InstanceList,
    "waiting, queues": admin.QueueList,
    "callers": admin.CallerList,
    "name, kind, usable, why_not, version, healthy, cycles, restart_due": admin.HarnessEntry,
    "node, for_s, progress": admin.LoadEntry,
    "node, code, message, failures_in_a_row, retry_in_s, log_tail": admin.HoldEntry,
    "position, caller, waited_s": admin.WaiterEntry,
    "decisions, newest, next, gap": admin.DecisionPage,
    "nodes, instances, gone": admin.FleetChange,
    "since": admin.EventGap,
    "model, strategy, priority, need_mb, nodes": Explanation,
    "index, name, total_mb, free_mb, strangers_mb, need_mb, missing_mb": DeviceNote,
    "model, status, devices, held_mb, idle_s, goes, why": InstanceNote,
    "model, node, status, reason": admin.LoadOutcome,
    "model, node, status": admin.UnloadOutcome,
    "model, node, pinned": admin.PinOutcome,
    "running, running_count, finished, newest, next, gap": activity.ActivityPage,
    "number, kind, reason, node, caller, evicts, load_s": activity.Cause,
    "span, step_s, start_epoch_s, series": history.History,
    "metric, model, node, values": history.HistorySeries,
    "model, node, lines": engine_log.LogTail,
    "lines": engine_log.LogLines,
    "code, reason": engine_log.LogEnd,
    "since_epoch_s, until_epoch_s, by, sums, more": usage.UsageReport,
    "requests, next": usage.UsagePage,
    "keys": key.KeyList,
    "key, secret": key.KeyMade,
}
"""What is described in braces, and the struct that it is."""


def section(heading: str) -> str:
    found = PAGE.partition(f"\n### {heading}\n")[2]
    assert found, f"no heading '{heading}'"
    return found.partition("\n### ")[0]


def names(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def test_every_call_has_its_line() -> None:
    said = re.findall(r"^\| `(GET|POST) (/\S+?)(?:\?[^`]*)?` \|", PAGE, re.MULTILINE)
    assert sorted(said) == sorted((operation.method, PREFIX + operation.path) for operation in OPERATIONS)


@pytest.mark.parametrize("heading", FIELDS)
def test_every_message_has_exactly_the_fields_that_there_are(heading: str) -> None:
    first_table = section(heading).partition("\n\n| kind")[0]
    assert re.findall(r"^\| `(\w+)` \|", first_table, re.MULTILINE) == names(FIELDS[heading])


@pytest.mark.parametrize("shape", SHAPES)
def test_what_stands_in_braces_is_the_whole_of_it(shape: str) -> None:
    assert f"`{{{shape}}}`" in PAGE
    assert shape.split(", ") == names(SHAPES[shape])


def test_every_kind_of_decision_is_explained() -> None:
    kinds = re.findall(r"^\| `([\w-]+)` \|", section("One of decisions").partition("| kind |")[2], re.MULTILINE)
    assert set(kinds) | {"grant-queued"} == set(get_args(DecisionKind))


def test_every_verdict_and_outcome_is_named() -> None:
    verdicts, outcomes = section("One of explained nodes"), section("The answer to a plan")
    assert [word for word in get_args(Verdict) if f"`{word}`" not in verdicts] == []
    assert [word for word in get_args(ProspectKind) if f"`{word}`" not in outcomes] == []


def test_what_a_plan_can_be_asked_is_that_of_an_explanation_and_a_node() -> None:
    assert names(admin.PlanQuery) == [*names(admin.ExplainQuery), "node"]


def test_every_figure_over_time_and_every_parameter_is_named() -> None:
    said = re.findall(r"^\| `(\w+)` \|", section("GET /admin/v1/history"), re.MULTILINE)
    assert said == [*names(history.HistoryQuery), *get_args(history.HistoryMetric)]


def test_the_numbers_in_the_text_are_those_in_the_code() -> None:
    assert f"the last {KEPT_REQUESTS} requests that are over" in PAGE
    assert f"Figures of {MAX_MODELS} models are kept" in PAGE
    assert f"There may be {MAX_READERS} readers. A\nmodel" in PAGE
    assert f"The last {KEPT_DECISIONS} are kept." in PAGE
    assert f"({feed.KEPT} messages are)" in PAGE
    assert f"There may be {feed.MAX_READERS} readers" in PAGE

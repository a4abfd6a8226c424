"""Where a model would go, in tables and sentences."""

import json

import pytest
from tests.unit.cli.desk import desk

from cortex.cli.client import gateway
from cortex.cli.prospect import show_explanation, show_plan

OLD = {
    "model": "old",
    "status": "loaded",
    "devices": [0],
    "held_mb": 9000,
    "idle_s": 61.0,
    "goes": True,
    "why": "idle for 61 s",
}
BEAST = {
    "node": "beast",
    "verdict": "evicts",
    "why": "old has to go",
    "rank": 1,
    "cost_s": 7.25,
    "retry_in_s": None,
    "devices": [{"index": 0, "name": "GPU", "total_mb": 10000, "free_mb": 900, "need_mb": 8000, "missing_mb": 7100}],
    "instances": [OLD],
}
BENJY = {
    "node": "benjy",
    "verdict": "cannot_now",
    "why": "is not healthy",
    "rank": None,
    "cost_s": None,
    "retry_in_s": 4.0,
    "devices": [],
    "instances": [],
}
EXPLANATION = {"model": "m", "strategy": "lru", "priority": 0, "need_mb": 8000, "nodes": [BEAST, BENJY]}
PLAN = {
    "model": "m",
    "outcome": "loads",
    "node": "beast",
    "devices": [0, 1],
    "evicts": [OLD],
    "cost_s": 7.25,
    "terms": {"load_s": 4.0, "queue_s": 0.0, "reload_s": 3.25},
    "retry_in_s": None,
    "reason": "old has to go",
}
PATH = {"model": "m", "node": None}


def test_every_node_is_told_with_its_devices_and_instances(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(**{"GET_admin_v1_explain?model=m": EXPLANATION}) as here:
        show_explanation(gateway(here.url, {}), PATH, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "m: it needs 8000 MiB; eviction by lru",
        "",
        "RANK  NODE   VERDICT     COST S  WHY",
        "1     beast  evicts      7.2     old has to go",
        "-     benjy  cannot now  -       is not healthy (perhaps in 4 s)",
        "",
        "NODE   DEVICE  TOTAL MB  FREE MB  NEEDS MB  MISSING MB",
        "beast  0       10000     900      8000      7100",
        "",
        "NODE   INSTANCE  STATE   HOLDS MB  GOES  WHY",
        "beast  old       loaded  9000      yes   idle for 61 s",
    ]


def test_a_model_of_unknown_size_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = EXPLANATION | {"need_mb": None, "nodes": []}
    with desk(**{"GET_admin_v1_explain?model=m": unknown}) as here:
        show_explanation(gateway(here.url, {}), PATH, as_json=False)
    assert capsys.readouterr().out.startswith("m: nobody knows what it needs; eviction by lru\n")


def test_a_plan_says_where_why_who_goes_and_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(**{"GET_admin_v1_plan?model=m": PLAN}) as here:
        show_plan(gateway(here.url, {}), PATH, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "m: loaded on beast, device 0, 1",
        "  why: old has to go",
        "  has to go: old (9000 MiB, idle for 61 s)",
        "  cost: 7.2 s (load_s 4.0, reload_s 3.2)",
    ]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"outcome": "served", "reason": "it is loaded there"},
            ["m: served at once on beast", "  why: it is loaded there"],
        ),
        ({"outcome": "waits", "retry_in_s": 8.6}, ["m: waits on beast", "  perhaps in 9 s"]),
        (
            {"outcome": "never", "node": None, "reason": "\x1b[2Jno"},
            ["m: refused: no node can ever serve it", "  why: ?[2Jno"],
        ),
    ],
    ids=["served", "waits", "never"],
)
def test_other_outcomes(changes: dict[str, object], lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    bare = {"model": "m", "node": "beast", "devices": [], "evicts": [], "cost_s": None, "terms": {}, "reason": ""}
    with desk(**{"GET_admin_v1_plan?model=m": bare | {"retry_in_s": None} | changes}) as here:
        show_plan(gateway(here.url, {}), PATH, as_json=False)
    assert capsys.readouterr().out.splitlines() == lines


def test_json_is_what_the_gateway_said(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(**{"GET_admin_v1_plan?model=m": PLAN, "GET_admin_v1_explain?model=m": EXPLANATION}) as here:
        show_plan(gateway(here.url, {}), PATH, as_json=True)
        assert json.loads(capsys.readouterr().out) == PLAN
        show_explanation(gateway(here.url, {}), PATH, as_json=True)
        assert json.loads(capsys.readouterr().out) == EXPLANATION

"""Tables of the fleet, and the same as JSON."""

import json
import re

import pytest
from tests.arch.source import ROOT
from tests.unit.cli.desk import desk

from cortex.cli.client import gateway
from cortex.cli.status import show_callers, show_models, show_status

DEVICE = {"index": 0, "name": "RTX 5090", "vram_total_mb": 32607, "vram_used_mb": 19000, "utilization_pct": 7}
CPU = {"index": 1, "name": "CPU", "vram_total_mb": 64000, "vram_used_mb": None, "utilization_pct": None}
BEAST = {
    "name": "beast",
    "healthy": True,
    "why": "",
    "maintenance": False,
    "in_flight": 2,
    "troubles": [],
    "devices": [DEVICE, CPU],
}
BENJY = BEAST | {"name": "benjy", "healthy": False, "why": "connection refused", "in_flight": 0, "devices": []}
SPARE = BEAST | {"name": "spare", "maintenance": True, "in_flight": 0, "devices": [], "troubles": ["no driver"]}
NODES = {"nodes": [BEAST, BENJY, SPARE]}


def an_instance(model: str, status: str, **keys: object) -> dict[str, object]:
    base = {"model": model, "node": "beast", "status": status, "devices": [0, 1], "in_flight": 0, "pinned": False}
    return base | {"progress": None, "error": None, "idle_s": None} | keys


INSTANCES = {
    "instances": [
        an_instance("a/b", "loaded", in_flight=2, idle_s=0.0),
        an_instance("idle", "loaded", pinned=True, idle_s=12.4),
        an_instance("new", "loading", progress=0.4),
        an_instance("was there", "unloaded"),
        an_instance("bad", "failed", error={"code": "engine_failed", "message": "bad magic"}),
    ]
}
QUEUE = {
    "waiting": 3,
    "queues": [{"model": "new", "waiting": 3, "oldest_wait_s": 4.25, "by_caller": {"": 1, "agent": 2}}],
}
MODEL = {
    "id": "a/b",
    "status": "loaded",
    "nodes": ["beast"],
    "waiting": 0,
    "harness": "mistralrs",
    "vram_mb": 19000,
    "aliases": ["fast", "gpt-4o"],
    "loading": [],
    "held": [],
}
TROUBLED = MODEL | {
    "id": "c",
    "status": "unloaded",
    "nodes": [],
    "waiting": 2,
    "vram_mb": None,
    "aliases": [],
    "loading": [{"node": "beast", "for_s": 12.0}],
    "held": [{"node": "benjy", "retry_in_s": 30.0}],
}
MODELS = {"models": [MODEL, TROUBLED]}

ANSWERS = {"GET_admin_v1_nodes": NODES, "GET_admin_v1_instances": INSTANCES, "GET_admin_v1_queue": QUEUE}


def test_status_shows_nodes_devices_instances_and_who_waits(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(**ANSWERS) as here:
        show_status(gateway(here.url, {}), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "fleet: degraded, 2 of 3 nodes healthy, 2 requests in flight, 3 waiting",
        "",
        "NODE   STATE        IN FLIGHT  WHY",
        "beast  healthy      2          -",
        "benjy  unhealthy    0          connection refused",
        "spare  maintenance  0          no driver",
        "",
        "NODE   DEVICE  NAME      USED MB  TOTAL MB  BUSY %",
        "beast  0       RTX 5090  19000    32607     7",
        "beast  1       CPU       -        64000     -",
        "",
        "MODEL  NODE   STATE    DEVICES  IN FLIGHT  NOTE",
        "a/b    beast  loaded   0, 1     2          -",
        "idle   beast  loaded   0, 1     0          pinned, idle 12 s",
        "new    beast  loading  0, 1     0          40%",
        "bad    beast  failed   0, 1     0          bad magic",
        "",
        "MODEL  WAITING  OLDEST S  CALLERS",
        "new    3        4.2       (nobody): 1, agent: 2",
    ]


@pytest.mark.parametrize(
    ("nodes", "state", "code"),
    [([], "down", 2), ([BENJY], "down", 2), ([BEAST], "ok", 0), ([BEAST, BENJY], "degraded", 1)],
)
def test_the_fleet_is_summed_up(
    nodes: list[dict[str, object]], state: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with desk(**ANSWERS | {"GET_admin_v1_nodes": {"nodes": nodes}}) as here:
        assert show_status(gateway(here.url, {}), as_json=False) == code
    assert capsys.readouterr().out.startswith(f"fleet: {state}, ")


def test_models_shows_every_model_and_what_keeps_it_from_being_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(GET_admin_v1_models=MODELS) as here:
        show_models(gateway(here.url, {}), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "MODEL  STATE     NODES  WAITING  HARNESS    VRAM MB  ALIASES       NOTE",
        "a/b    loaded    beast  -        mistralrs  19000    fast, gpt-4o  -",
        "c      unloaded  -      2        mistralrs  -        -             "
        "loading on beast for 12 s; failed on benjy, again in 30 s",
    ]


CALLERS = {
    "callers": [
        {"caller": "agent", "loads": 3, "failures": 1, "evictions": 2, "loading_s": 41.5, "cold_starts": 9},
        {"caller": "", "loads": 1, "failures": 0, "evictions": 0, "loading_s": 2.0, "cold_starts": 0},
    ]
}


def test_callers_are_shown_with_what_they_have_cost(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(GET_admin_v1_callers=CALLERS) as here:
        show_callers(gateway(here.url, {}), as_json=False)
        assert capsys.readouterr().out.splitlines() == [
            "CALLER    LOADS  FAILED  EVICTIONS  LOADING S  COLD STARTS",
            "agent     3      1       2          41.5       9",
            "(nobody)  1      0       0          2.0        0",
        ]
        show_callers(gateway(here.url, {}), as_json=True)
        assert json.loads(capsys.readouterr().out) == CALLERS["callers"]


def test_the_fields_of_the_json_are_those_that_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(**ANSWERS) as here:
        show_status(gateway(here.url, {}), as_json=True)
    page = (ROOT / "docs" / "operations" / "top.md").read_text()
    table = page.partition("| field | meaning |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(json.loads(capsys.readouterr().out))


def test_json_is_what_the_gateway_said(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(**ANSWERS, GET_admin_v1_models=MODELS) as here:
        assert show_status(gateway(here.url, {}), as_json=True) == 1
        said = {"status": "degraded", "healthy": 2, "in_flight": 2, "waiting": 3}
        said |= {"nodes": NODES["nodes"], "instances": INSTANCES["instances"], "queue": QUEUE}
        assert json.loads(capsys.readouterr().out) == said
        show_models(gateway(here.url, {}), as_json=True)
        assert json.loads(capsys.readouterr().out) == MODELS["models"]

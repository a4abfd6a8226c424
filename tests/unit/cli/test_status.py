"""Tables of the fleet, and the same as JSON."""

import json

import pytest
from tests.unit.cli.desk import desk

from cortex.cli.client import gateway
from cortex.cli.status import show_models, show_status

HEALTH = {
    "status": "degraded",
    "nodes": [
        {
            "name": "beast",
            "healthy": True,
            "why": "",
            "models": ["a/b"],
            "devices": [
                {"index": 0, "name": "RTX 5090", "vram_total_mb": 32607, "vram_used_mb": 19000, "utilization_pct": 7},
                {"index": 1, "name": "CPU", "vram_total_mb": 64000, "vram_used_mb": None},
            ],
        },
        {"name": "benjy", "healthy": False, "why": "connection refused", "models": []},
    ],
}
MODELS = {
    "object": "list",
    "data": [
        {
            "id": "a/b",
            "status": "loaded",
            "nodes": [{"node": "beast", "status": "loaded", "devices": [0, 1]}],
            "harness": "mistralrs",
            "context": 8192,
            "aliases": ["fast", "gpt-4o"],
        },
        {"id": "c", "status": "unloaded", "nodes": []},
    ],
}


def test_status_shows_nodes_devices_and_instances(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(GET_health=[(503, HEALTH)], GET_v1_models=MODELS) as here:
        show_status(gateway(here.url, {}), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "fleet: degraded",
        "",
        "NODE   STATE      LOADED  WHY",
        "beast  healthy    a/b     -",
        "benjy  unhealthy  -       connection refused",
        "",
        "NODE   DEVICE  NAME      USED MB  TOTAL MB  BUSY %",
        "beast  0       RTX 5090  19000    32607     7",
        "beast  1       CPU       -        64000     -",
        "",
        "MODEL  NODE   STATUS  DEVICES",
        "a/b    beast  loaded  0, 1",
    ]


@pytest.mark.parametrize(
    ("names", "shown"),
    [(["a", "b", "c", "d"], "a, b, c, d"), (["a", "b", "c", "d", "e"], "a, b, c and 2 more")],
)
def test_a_node_with_many_models_keeps_its_row_short(
    names: list[str], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    health = {"status": "ok", "nodes": [{"name": "beast", "healthy": True, "models": names}]}
    with desk(GET_health=health, GET_v1_models={"data": []}) as here:
        show_status(gateway(here.url, {}), as_json=False)
    assert capsys.readouterr().out.splitlines()[3].split("  ")[-2].strip() == shown


def test_models_shows_every_model_also_those_not_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(GET_v1_models=MODELS) as here:
        show_models(gateway(here.url, {}), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "MODEL  STATUS    NODES  HARNESS    CONTEXT  ALIASES",
        "a/b    loaded    beast  mistralrs  8192     fast, gpt-4o",
        "c      unloaded  -      -          -        -",
    ]


def test_json_is_what_the_gateway_said(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(GET_health=HEALTH, GET_v1_models=MODELS) as here:
        show_status(gateway(here.url, {}), as_json=True)
        assert json.loads(capsys.readouterr().out) == {"health": HEALTH, "models": MODELS["data"]}
        show_models(gateway(here.url, {}), as_json=True)
        assert json.loads(capsys.readouterr().out) == MODELS["data"]

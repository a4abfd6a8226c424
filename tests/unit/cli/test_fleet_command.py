"""The command lines that steer the fleet: which options there are, and that they arrive where they should."""

import json

import pytest
from tests.unit.cli.desk import desk
from typer.testing import CliRunner

from cortex.cli.command import app

WHERE = {"id": "m", "nodes": ["beast"]}
PAGE = {"decisions": [], "next": 0, "newest": 0, "gap": False}


def call(*argv: str, **env: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, argv, env=env)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("argv", "pinned"), [(["pin"], True), (["unpin"], False), (["unpin", "--catalogue"], None)], ids=str
)
def test_pins_are_set_taken_off_and_left_to_the_catalogue(argv: list[str], pinned: bool | None) -> None:
    answer = {"model": "m", "node": "beast", "pinned": bool(pinned)}
    with desk(GET_admin_v1_models_m=WHERE, POST_admin_v1_pin=answer) as here:
        code, out = call(*argv, "m", CORTEX_URL=here.url)
        assert (code, out.startswith("m: ")) == (0, True)
        assert here.seen[-1][1] == {"model": "m", "node": "beast", "pinned": pinned}


@pytest.mark.parametrize("command", ["drain", "undrain"])
def test_nodes_are_drained_by_name(command: str) -> None:
    path = f"POST_admin_v1_nodes_beast_{command}"
    with desk(**{path: {"node": "beast", "maintenance": command == "drain"}}) as here:
        code, out = call(command, "beast", "--url", here.url, "--json")
        assert (code, json.loads(out)["node"]) == (0, "beast")
        assert here.seen == [(f"POST /admin/v1/nodes/beast/{command}", {})]


def test_decisions_are_narrowed_down_by_options() -> None:
    query = "limit=7&model=org%2Fm&node=beast&kind=eviction"
    with desk(**{f"GET_admin_v1_decisions?{query}": PAGE}) as here:
        argv = ("decisions", "-n", "7", "--model", "org/m", "--node", "beast", "--kind", "eviction", "--url", here.url)
        assert call(*argv) == (0, "")


@pytest.mark.parametrize("command", ["explain", "plan"])
def test_what_ifs_arrive_as_they_were_meant(command: str) -> None:
    query = "model=org%2Fm&harness=h&vram_mb=5&min_devices=0&min_device_vram_mb=7&priority=-2"
    said = {"model": "org/m", "nodes": [], "outcome": "never"}
    with desk() as here:
        here.answers[f"GET /admin/v1/{command}?{query}"] = [(200, said)]
        argv = (command, "org/m", "--harness", "h", "--vram-mb", "5", "--min-devices", "0")
        code, out = call(*argv, "--min-device-vram-mb", "7", "--priority", "-2", "--json", "--url", here.url)
        assert (code, json.loads(out)) == (0, said)


@pytest.mark.parametrize("argv", [("pin", "m", "--node", "n"), ("drain", "n"), ("decisions",), ("decisions", "-f")])
def test_a_gateway_that_is_not_there_is_one_sentence_and_code_1(argv: tuple[str, ...]) -> None:
    code, out = call(*argv, "--url", "http://127.0.0.1:1")
    assert code == 1
    assert out.startswith(f"cortex {argv[0]}: no answer from the gateway at http://127.0.0.1:1 (Connection refused)")


def test_a_gateways_refusal_is_told_and_fails() -> None:
    refusal = [(404, {"error": {"code": "node_not_found", "message": "No node 'x' is configured."}})]
    with desk(POST_admin_v1_nodes_x_drain=refusal) as here:
        code, out = call("drain", "x", "--url", here.url)
        assert (code, "404: No node 'x' is configured." in out) == (1, True)


def test_callers_are_a_table() -> None:
    with desk(GET_admin_v1_callers={"callers": []}) as here:
        code, out = call("callers", "--url", here.url)
        assert (code, out.split()[0]) == (0, "CALLER")


def test_a_wrong_option_is_code_2() -> None:
    assert call("decisions", "--limit", "0")[0] == 2
    assert call("drain")[0] == 2

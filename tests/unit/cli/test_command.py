"""The command lines of ``cortex``: which options there are, and that they arrive where they should."""

import json
import os
import subprocess
import sys

import pytest
from tests.unit.cli.desk import desk
from typer.testing import CliRunner

from cortex import __version__
from cortex.cli.command import app
from cortex.cli.up.plan import Wish


def call(*argv: str, **env: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, argv, env=env)
    return result.exit_code, result.output


def test_without_a_command_the_commands_are_listed() -> None:
    _, out = call()
    for command in (
        "serve",
        "up",
        "status",
        "models",
        "load",
        "unload",
        "check",
        "version",
        "pin",
        "drain",
        "decisions",
    ):
        assert f" {command} " in out


def test_a_fleet_may_have_any_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    wishes: list[Wish] = []

    def up(wish: Wish, _: object) -> int:
        wishes.append(wish)
        return 0

    monkeypatch.setattr("cortex.cli.up.command.up", up)
    assert call("up", "--port", "0") == (0, "")
    assert wishes == [Wish(port=0)]


@pytest.mark.parametrize("argv", [["version"], ["--version"]])
def test_the_version_is_told(argv: list[str]) -> None:
    assert call(*argv) == (0, f"cortex {__version__}\n")


def test_status_takes_the_gateway_from_the_environment_and_an_option_over_it() -> None:
    parts = {"nodes": {"nodes": []}, "instances": {"instances": []}, "queue": {"waiting": 0, "queues": []}}
    answers = {f"GET_admin_v1_{name}": answer for name, answer in parts.items()}
    with desk(**answers, GET_admin_v1_models={"models": []}) as here:
        code, out = call("status", "--json", CORTEX_URL=here.url, CORTEX_API_KEY="k")
        assert (code, json.loads(out)["nodes"], json.loads(out)["status"]) == (2, [], "down")
        assert here.credentials == ["Bearer k"] * 3
        assert call("models", "--url", here.url, CORTEX_URL="http://127.0.0.1:1")[0] == 0


def test_an_unreachable_gateway_is_one_sentence_and_code_1() -> None:
    code, out = call("models", "--url", "http://127.0.0.1:1")
    assert code == 1
    assert out.startswith("cortex models: no answer from the gateway at http://127.0.0.1:1 (Connection refused)")


def test_a_load_goes_through_the_gateway() -> None:
    answer = {"model": "a/b", "node": "beast", "status": "loaded", "reason": ""}
    with desk(POST_admin_v1_load=answer) as here:
        assert call("load", "a/b", "--node", "beast", "--url", here.url) == (0, "a/b: loaded on beast\n")
        assert call("load", "a/b", "--no-wait", "--json", "--url", here.url)[0] == 0
        assert [body for _, body in here.seen] == [
            {"model": "a/b", "node": "beast", "wait": True},
            {"model": "a/b", "node": None, "wait": False},
        ]


def test_an_unload_goes_through_the_gateway() -> None:
    with desk(POST_admin_v1_unload={"model": "m", "node": "n", "status": "unloaded"}) as here:
        assert call("unload", "m", "--node", "n", "--force", "--url", here.url) == (0, "m: unloaded on n\n")
        assert here.seen == [("POST /admin/v1/unload", {"model": "m", "node": "n", "force": True, "wait": True})]


@pytest.mark.parametrize("command", ["load", "unload"])
def test_options_of_the_gateway_are_refused_for_a_neuron(command: str) -> None:
    code, out = call(command, "m", "--node", "n", "--json", "--neuron", "http://127.0.0.1:1")
    assert (code, "--node and --json: not with a neuron" in out) == (1, True)


def test_what_only_a_neuron_is_told_goes_to_the_one_on_this_host() -> None:
    code, out = call("load", "m", "--source", "/m.gguf", "--harness", "h")
    assert (code, "the neuron at http://127.0.0.1:9090" in out) == (1, True)


def test_every_option_of_load_reaches_the_neuron() -> None:
    options = "--harness h --source /m.gguf --quant Q8_0 --vram-mb 5 --device 1 --device 0 --context 6 --parallel 7"
    with desk(POST_models_load={"status": "loading"}) as here:
        code, _ = call("load", "a/b", "--neuron", here.url, "--no-wait", *options.split())
        assert code == 0
        sent = {"model_id": "a/b", "harness": "h", "source": "/m.gguf", "quant": "Q8_0", "vram_mb": 5}
        assert here.seen == [("POST /models/load", sent | {"devices": [1, 0], "context": 6, "parallel": 7})]


def test_load_without_a_harness_takes_the_nodes_only_one() -> None:
    with desk(GET_discovery={"harnesses": ["only"]}, POST_models_load={"status": "loaded"}) as here:
        assert call("load", "m", CORTEX_NEURON_URL=here.url)[0] == 0
        assert here.seen[-1] == ("POST /models/load", {"model_id": "m", "harness": "only"})


def test_unload_waits_unless_told_not_to() -> None:
    with desk(POST_models_unload={"status": "unloaded"}) as here:
        assert call("unload", "m", "--neuron", here.url) == (0, "m: unloaded\n")
        assert call("unload", "m", "--neuron", here.url, "--no-wait", "--force")[0] == 0
        bodies = [body for _, body in here.seen]
        assert bodies == [{"model_id": "m"}, {"model_id": "m", "wait": False, "force": True}]


def test_serve_shows_its_own_options() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "cortex", "serve", "--help"], capture_output=True, text=True, check=True, env=os.environ
    ).stdout
    assert "--metrics-listen HOST:PORT" in shown
    assert call("serve", "--lisen")[0] == 2

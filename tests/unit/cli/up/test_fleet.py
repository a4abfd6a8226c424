"""What a local fleet makes of its daemons' answers and ends. With the real daemons: tests/integration/cli."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.unit.cli.desk import Desk, desk

from cortex.cli.up.fleet import LocalFleet, MemberEnded
from cortex.cli.up.model import LocalModel
from cortex.cli.up.plan import Plan
from cortex.contract.error import ConfigError, LoadFailed
from cortex.kit.http_client import HttpClient

DETAIL = {"name": "llamacpp", "kind": "llamacpp", "usable": True}
DISCOVERY = {"hostname": "h", "os": "o", "kernel": "k", "harness_details": [DETAIL]}


def plan(tmp_path: Path, port: int) -> Plan:
    model = LocalModel(id="m", source="/m.gguf")
    return Plan(model=model, home=tmp_path, port=port, neuron_port=port, metrics_port=1, engine_port=None)


def play(tmp_path: Path, here: Desk, scene: Callable[[LocalFleet, asyncio.TaskGroup], object]) -> list[str]:
    """Run a part of a fleet against a desk that is both of its daemons; return what was said."""
    said: list[str] = []

    async def run() -> None:
        http = HttpClient()
        fleet = LocalFleet(plan(tmp_path, int(here.url.rpartition(":")[2])), {}, http, said.append)
        try:
            async with asyncio.TaskGroup() as group:
                await scene(fleet, group)
        finally:
            await http.close()

    asyncio.run(run())
    return said


def failure(kind: type[Exception], tmp_path: Path, here: Desk, scene: Callable[..., object]) -> str:
    with pytest.raises(ExceptionGroup) as caught:
        play(tmp_path, here, scene)
    (error,) = caught.value.exceptions
    assert isinstance(error, kind)
    return str(error)


def test_readiness_is_waited_for(tmp_path: Path) -> None:
    starting, ready = (503, {"error": {"code": "starting"}}), (200, {})
    with desk(GET_readyz=[starting, starting, ready]) as here:
        play(tmp_path, here, lambda fleet, _: fleet._until_ready(here.url))
        assert len(here.seen) == 3


def test_a_node_without_an_engine_is_told_why(tmp_path: Path) -> None:
    detail = DETAIL | {"usable": False, "why_not": "llama-server is not on PATH"}
    with desk(GET_discovery=DISCOVERY | {"harness_details": [detail]}) as here:
        said = failure(ConfigError, tmp_path, here, lambda fleet, _: fleet._check_engine())
    assert said == "no engine: llama-server is not on PATH"


def test_a_node_with_an_engine_is_fine(tmp_path: Path) -> None:
    with desk(GET_discovery=DISCOVERY) as here:
        assert play(tmp_path, here, lambda fleet, _: fleet._check_engine()) == []


def test_the_model_is_loaded_by_a_request_through_the_whole_way(tmp_path: Path) -> None:
    watched = [(200, []), (200, [{"id": "m", "harness": "llamacpp", "status": "loaded"}])]
    with desk(POST_v1_chat_completions={"choices": []}, GET_models=watched) as here:
        play(tmp_path, here, lambda fleet, group: fleet._load_model(group))
        ((call, body),) = (seen for seen in here.seen if seen[0].startswith("POST"))
        assert call == "POST /v1/chat/completions"
        assert msgspec.convert(body, dict[str, object]) == {
            "model": "m",
            "max_tokens": 1,
            "messages": [{"role": "user", "content": "Hello!"}],
        }


def test_a_failed_load_is_told_in_the_engines_words(tmp_path: Path) -> None:
    error = {"code": "engine_failed", "message": "invalid magic", "log_tail": ["one", "two"]}
    report = {"id": "m", "harness": "llamacpp", "status": "failed", "error": error}
    refused = (503, {"error": {"message": "m could not be loaded"}})
    with desk(POST_v1_chat_completions=[refused], GET_models=[(200, [report])]) as here:
        said = failure(LoadFailed, tmp_path, here, lambda fleet, group: fleet._load_model(group))
    assert said == "m could not be loaded: invalid magic\n  one\n  two"


def test_a_model_that_the_neuron_never_saw_is_told_in_the_gateways_words(tmp_path: Path) -> None:
    refused = (503, {"error": {"message": "needs 9000 MiB, 100 are free"}})
    with desk(POST_v1_chat_completions=[refused], GET_models=[(200, [])]) as here:
        said = failure(LoadFailed, tmp_path, here, lambda fleet, group: fleet._load_model(group))
    assert said == "m could not be loaded: needs 9000 MiB, 100 are free"


def test_a_daemon_that_ends_by_itself_ends_the_fleet_with_its_last_words(tmp_path: Path) -> None:
    ups: list[bool] = []

    async def run() -> None:
        http = HttpClient()
        fleet = LocalFleet(plan(tmp_path, 1), dict(os.environ), http, print)
        try:
            await fleet.run(lambda: ups.append(True))
        finally:
            await fleet.stop()
            await http.close()

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(run())
    (error,) = caught.value.exceptions
    assert isinstance(error, MemberEnded)
    assert error.message.startswith("the neuron ended with code 2; its last lines:\n")
    assert f"cortex-neuron: {tmp_path}/neuron.toml: no such file" in error.message
    assert ups == []

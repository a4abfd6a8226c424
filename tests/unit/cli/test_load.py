"""Loading and unloading on one neuron: what is sent, what is waited for, what is told."""

import pytest
from tests.unit.cli.desk import desk

from cortex.cli.client import neuron
from cortex.cli.load import POLL_S, load, only_harness, unload
from cortex.contract.error import ConfigError, LoadFailed, UpstreamError
from cortex.contract.instance import LoadRequest, UnloadRequest

WANTED = LoadRequest(model_id="a/b", harness="llamacpp", quant="Q4_K_M")


def report(status: str, **more: object) -> list[dict[str, object]]:
    return [{"id": "other", "status": "failed"}, {"id": "a/b", "status": status, **more}]


def test_a_load_is_watched_until_the_model_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    slept: list[float] = []
    watched = [(200, report("loading")), (200, report("loading")), (200, report("loaded"))]
    with desk(POST_models_load={"status": "loading", "estimated_mb": 900}, GET_models=watched) as here:
        load(neuron(here.url, {}), WANTED, wait=True, sleep=slept.append)
        assert here.seen[0] == (
            "POST /models/load",
            {"model_id": "a/b", "harness": "llamacpp", "quant": "Q4_K_M"},
        )
    assert slept == [POLL_S, POLL_S]
    assert capsys.readouterr().out.splitlines() == [
        "a/b: loading",
        "a/b: estimated need 900 MiB (give --vram-mb to say it)",
        "a/b: loaded",
    ]


@pytest.mark.parametrize(("answer", "wait"), [("loaded", True), ("loading", False)])
def test_nothing_is_watched_when_there_is_nothing_to_wait_for(answer: str, wait: bool) -> None:
    with desk(POST_models_load={"status": answer}) as here:
        load(neuron(here.url, {}), WANTED, wait=wait)
        assert [call for call, _ in here.seen] == ["POST /models/load"]


def test_a_failed_load_tells_the_engines_last_words() -> None:
    error = {"code": "engine_failed", "message": "out of memory", "log_tail": ["line 1", "line 2"]}
    with (
        desk(POST_models_load={"status": "loading"}, GET_models=report("failed", error=error)) as here,
        pytest.raises(LoadFailed) as caught,
    ):
        load(neuron(here.url, {}), WANTED, wait=True)
    assert caught.value.message == "a/b: not loaded: out of memory\n  line 1\n  line 2"


def test_a_model_that_vanishes_while_loading_is_not_waited_for() -> None:
    with desk(POST_models_load={"status": "loading"}, GET_models=[]) as here, pytest.raises(LoadFailed) as caught:
        load(neuron(here.url, {}), WANTED, wait=True)
    assert "no longer there" in caught.value.message


def test_a_refusal_is_told_in_the_neurons_words() -> None:
    refusal = (409, {"error": {"code": "no_room", "message": "needs 900 MiB, 100 are free"}})
    with desk(POST_models_load=[refusal]) as here, pytest.raises(UpstreamError, match="409: needs 900 MiB"):
        load(neuron(here.url, {}), WANTED, wait=True)


def test_unload_passes_force_and_wait_on(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(POST_models_unload=[(202, {"status": "draining"})]) as here:
        unload(neuron(here.url, {}), UnloadRequest(model_id="a/b", wait=False, force=True))
        assert here.seen == [("POST /models/unload", {"model_id": "a/b", "wait": False, "force": True})]
    assert capsys.readouterr().out == "a/b: draining\n"


def test_the_only_harness_is_taken_and_several_are_a_question() -> None:
    with desk(GET_discovery=[(200, {"harnesses": ["x"]}), (200, {"harnesses": ["x", "y"]})]) as here:
        assert only_harness(neuron(here.url, {})) == "x"
        with pytest.raises(ConfigError, match="--harness: choose one of the node's harnesses: x, y"):
            only_harness(neuron(here.url, {}))


def test_a_node_without_a_usable_harness_says_so() -> None:
    with desk(GET_discovery={"harnesses": []}) as here, pytest.raises(ConfigError, match="none is usable"):
        only_harness(neuron(here.url, {}))

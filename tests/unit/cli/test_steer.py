"""What an operator does through the gateway: what is sent, and the line that comes back."""

import json

import pytest
from tests.unit.cli.desk import Desk, desk

from cortex.cli.client import gateway
from cortex.cli.steer import load, maintain, pin, the_node, unload
from cortex.contract.error import ConfigError, UpstreamError

WHERE = {"id": "org/m", "nodes": ["beast"]}


def sent(here: Desk) -> tuple[str, object]:
    return here.seen[-1]


def test_a_load_says_where_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    answer = (202, {"model": "org/m", "node": "beast", "status": "loading", "reason": "fits free memory"})
    with desk(POST_admin_v1_load=[answer]) as here:
        load(gateway(here.url, {}), "short", None, wait=False, as_json=False)
        assert sent(here) == ("POST /admin/v1/load", {"model": "short", "node": None, "wait": False})
    assert capsys.readouterr().out == "org/m: loading on beast (fits free memory)\n"


def test_a_model_that_is_loaded_needs_no_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(POST_admin_v1_load={"model": "m", "node": "n", "status": "loaded", "reason": "it is loaded"}) as here:
        load(gateway(here.url, {}), "m", "n", wait=True, as_json=False)
    assert capsys.readouterr().out == "m: loaded on n\n"


def test_a_refusal_is_told_in_the_gateways_words() -> None:
    refusal = (503, {"error": {"code": "load_failed", "message": "'m' could not be loaded on n: bad magic"}})
    with desk(POST_admin_v1_load=[refusal]) as here, pytest.raises(UpstreamError, match="503: 'm' could not be"):
        load(gateway(here.url, {}), "m", None, wait=True, as_json=False)


def test_the_only_node_that_has_it_need_not_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(
        **{"GET_admin_v1_models_org%2Fm": WHERE},
        POST_admin_v1_unload={"model": "org/m", "node": "beast", "status": "unloaded"},
        POST_admin_v1_pin={"model": "org/m", "node": "beast", "pinned": True},
    ) as here:
        unload(gateway(here.url, {}), "org/m", None, force=True, wait=True, as_json=False)
        assert sent(here)[1] == {"model": "org/m", "node": "beast", "force": True, "wait": True}
        pin(gateway(here.url, {}), "org/m", None, pinned=None, as_json=False)
        assert sent(here)[1] == {"model": "org/m", "node": "beast", "pinned": None}
    assert capsys.readouterr().out.splitlines() == ["org/m: unloaded on beast", "org/m: pinned on beast"]


def test_a_named_node_is_not_looked_up() -> None:
    with desk(POST_admin_v1_pin={"model": "m", "node": "n", "pinned": False}) as here:
        pin(gateway(here.url, {}), "m", "n", pinned=False, as_json=False)
        assert [call for call, _ in here.seen] == ["POST /admin/v1/pin"]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [([], "m is loaded on no node: name one with --node"), (["a", "b"], "choose one with --node: a, b")],
)
def test_no_node_or_several_are_a_question(nodes: list[str], words: str) -> None:
    with desk(GET_admin_v1_models_m={"id": "m", "nodes": nodes}) as here, pytest.raises(ConfigError, match=words):
        the_node(gateway(here.url, {}), "m")


def test_a_node_is_drained_and_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(
        POST_admin_v1_nodes_beast_drain={"node": "beast", "maintenance": True},
        POST_admin_v1_nodes_beast_undrain={"node": "beast", "maintenance": False},
    ) as here:
        maintain(gateway(here.url, {}), "beast", is_on=True, as_json=False)
        maintain(gateway(here.url, {}), "beast", is_on=False, as_json=False)
    assert capsys.readouterr().out.splitlines() == ["beast: nothing new is placed there", "beast: used again"]


def test_json_is_what_the_gateway_said(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"model": "m", "node": "n", "status": "loaded", "reason": ""}
    with desk(POST_admin_v1_load=answer) as here:
        load(gateway(here.url, {}), "m", None, wait=True, as_json=True)
    assert json.loads(capsys.readouterr().out) == answer

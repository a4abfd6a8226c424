"""The gateway that runs is judged by what it says, the catalogue by the nodes that there are."""

from collections.abc import Mapping

import pytest

from cortex.cli.doctor.gateway.fleet import judge_catalogue, judge_nodes, judge_placing, judge_ready
from cortex.contract.node import Device, Discovery
from cortex.contract.profile import Profile
from cortex.fleet.view import NodeView

BEAST = NodeView(
    name="beast",
    is_healthy=True,
    is_tried=True,
    discovery=Discovery(
        hostname="beast",
        os="Linux",
        kernel="6",
        devices=(Device(index=0, name="RTX", vram_total_mb=8000),),
        harnesses=("llamacpp",),
    ),
)
SMALL = Profile(id="small", harness="llamacpp", vram_mb=4000)
HUGE = Profile(id="huge", harness="llamacpp", vram_mb=90000)


@pytest.mark.parametrize(
    ("said", "result"),
    [("ok", "ok"), ("", "skipped"), ("starting", "warn"), ("stopping", "warn"), ("closed", "skipped")],
)
def test_a_gateway_that_runs_is_ready_or_says_why_not(said: str, result: str) -> None:
    assert judge_ready(said).result == result


@pytest.mark.parametrize(
    ("health", "results"),
    [
        (None, ["skipped"]),
        ({"nodes": []}, ["fail"]),
        ({"nodes": [{"name": "a", "healthy": True, "why": ""}]}, ["ok"]),
        ({"nodes": [{"name": "a", "healthy": True}, {"name": "b", "healthy": False, "why": "refused"}]}, ["fail"]),
    ],
)
def test_a_node_that_the_gateway_does_not_reach_is_named(
    health: Mapping[str, object] | None, results: list[str]
) -> None:
    found = judge_nodes(health, "ok" if health else "")
    assert [each.result for each in found] == results
    if health and len(health["nodes"]) == 2:  # type: ignore[arg-type]
        assert (found[0].about, found[0].found) == ("b", "refused")


def test_a_gateway_that_lets_doctor_not_in_is_not_asked_for_its_nodes() -> None:
    (found,) = judge_nodes(None, "closed")
    assert (found.result, "tls_client_ca" in found.found) == ("skipped", True)


def test_a_model_that_no_node_can_hold_is_told() -> None:
    (found,) = judge_placing([SMALL, HUGE], [BEAST])
    assert found.result == "fail"
    assert found.found.startswith("huge can run on no node")
    (found,) = judge_placing([SMALL], [BEAST])
    assert (found.result, found.found) == ("ok", "each of 1 models can run on some node")


def test_where_a_node_was_not_seen_nothing_is_said_of_models() -> None:
    (found,) = judge_placing([HUGE], [BEAST, NodeView(name="far")])
    assert (found.result, found.found) == ("skipped", "not every node was seen: far")
    (found,) = judge_placing([HUGE], [])
    assert found.result == "skipped"
    (found,) = judge_placing([], [BEAST])
    assert found.result == "ok"


def test_what_is_hardly_meant_is_told_once_and_not_what_is_impossible() -> None:
    pinned = Profile(id="pinned", harness="llamacpp", vram_mb=4000, pinned_on=("ghost",))
    found = judge_catalogue(["a remark"], [HUGE, pinned], [BEAST], "lru")
    assert [each.found for each in found] == [
        "a remark",
        "pinned is pinned on ghost, which is no node of this fleet",
    ]
    assert {each.result for each in found} == {"warn"}
    assert judge_catalogue([], [SMALL], [BEAST], "lru")[0].result == "ok"

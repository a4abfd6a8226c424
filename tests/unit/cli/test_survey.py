"""What neurons that are asked say of themselves, and what is known of one that says nothing."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.unit.cli.desk import Desk, desk

from cortex.cli.survey import Place, survey
from cortex.fleet.view import NodeView

DISCOVERY = {
    "hostname": "h",
    "os": "Linux",
    "kernel": "6",
    "devices": [{"index": 0, "name": "GPU", "vram_total_mb": 8000}],
    "harnesses": ["llamacpp"],
}
MODELS = [{"id": "m", "harness": "llamacpp", "status": "loaded", "vram_used_mb": 3000}]
WHOLE = {"GET_discovery": DISCOVERY, "GET_health": {"uptime_secs": 1.0}, "GET_models": MODELS}


def look(at: Desk, env: Mapping[str, str] | None = None, **more: object) -> NodeView:
    (node,) = survey([Place("beast", at.url, **more)], env or {})  # type: ignore[arg-type]
    return node


def test_a_neuron_that_answers_is_a_node_with_all_that_it_has() -> None:
    with desk(**WHOLE) as here:
        node = look(here)
    assert (node.name, node.is_healthy) == ("beast", True)
    assert node.discovery is not None
    assert node.discovery.devices[0].vram_total_mb == 8000
    assert node.models[0].vram_used_mb == 3000
    assert {call.partition(" ")[0] for call, _ in here.seen} == {"GET"}


def test_of_one_that_does_not_answer_is_known_why() -> None:
    with desk(GET_discovery=[(503, {"error": {"message": "it starts"}})]) as here:
        url = here.url
        node = look(here)
    assert (node.discovery, node.is_healthy) == (None, False)
    assert node.why.endswith("answered 503: it starts")
    (gone,) = survey([Place("beast", url)], {})
    assert gone.why.startswith("no answer from the neuron at")


def test_one_that_is_something_else_is_told_so() -> None:
    with desk(**{**WHOLE, "GET_models": [{"id": 3}]}) as here:
        node = look(here)
    assert node.why.startswith("its answer is not by the contract: ")


def test_its_credential_is_shown_and_told_where_it_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    with desk(**WHOLE) as here:
        look(here, token_file=str(tmp_path / "token"))
        assert set(here.credentials) == {"Bearer s3cret"}
        assert "none: cannot be read: No such file" in look(here, token_file=str(tmp_path / "none")).why


def test_a_credential_of_the_environment_is_shown() -> None:
    with desk(**WHOLE) as here:
        look(here, {"CORTEX_FLEET_TOKEN": "s3cret"})
    assert set(here.credentials) == {"Bearer s3cret"}


@pytest.mark.parametrize("count", [0, 3])
def test_nodes_come_in_the_order_of_the_configuration(count: int) -> None:
    with desk(**WHOLE) as here:
        names = [f"n{number}" for number in range(count)]
        assert [node.name for node in survey((Place(name, here.url) for name in names), {})] == names

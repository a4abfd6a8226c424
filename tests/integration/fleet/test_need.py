"""Models of which only the node knows what they need, where there is no room: others go for them all the same."""

from collections.abc import Iterator

import pytest
from tests.integration.fleet.fleet import Fleet, entry, fleet, written


@pytest.fixture(scope="module")
def it(tmp_path_factory) -> Iterator[Fleet]:
    """One node with room for one of each pair of models."""
    folder = tmp_path_factory.mktemp("need")
    known = entry("lab/known", written(folder / "known.gguf", takes_mb=900), 900)
    unsaid = entry("lab/unsaid", written(folder / "unsaid.gguf", takes_mb=300), 0)
    del unsaid["vram_mb"]
    with fleet(folder / "fleet", {"a": (1000,)}, [known, unsaid], gateway="access_log = false\n") as running:
        yield running


@pytest.fixture(autouse=True)
def at_rest(it) -> Iterator[None]:
    with it.from_nothing():
        yield


def test_somebody_goes_for_a_model_whose_need_only_the_node_knows(it):
    assert it.gateway.ask("lab/known")[0] == 200
    status, body = it.gateway.ask("lab/unsaid")
    assert status == 200, body
    assert it.node("a").loaded() == {"lab/unsaid"}
    assert it.refusals() == []


def test_somebody_goes_for_a_model_that_is_not_in_the_catalogue(it):
    weights = written(it.folder / "found.gguf", takes_mb=900)
    it.node("a").load(entry("lab/found", weights, 900))
    it.unload_all()
    status, body = it.gateway.ask("lab/known")
    assert status == 200, body
    it.wait_until(lambda: "lab/found" in {one["id"] for one in it.gateway.get("/v1/models")[1]["data"]})
    status, body = it.gateway.ask("lab/found")
    assert status == 200, body
    assert it.node("a").loaded() == {"lab/found"}

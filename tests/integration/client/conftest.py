"""One fleet for all clients: a real gateway in front of a real engine, and of one that says what a test wants."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from tests.integration.client.scripted_engine import SCRIPTED, ScriptedEngine, scripted_engine
from tests.integration.gateway.real_fleet import NEURON_TOML, Thread, gateway, neuron

from cortex.contract.profile import Profile
from cortex.neuron.embedded.tiny_model import write_demo_model

DEMO = "lab/demo"


class ClientFleet(NamedTuple):
    """``engine`` answers for the model ``SCRIPTED``; ``DEMO`` is a real model on a real engine."""

    running: Thread
    engine: ScriptedEngine

    @property
    def url(self) -> str:
        return self.running.url


@pytest.fixture(scope="session")
def session_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientFleet]:
    demo = write_demo_model(tmp_path_factory.mktemp("model") / "demo.gguf")
    toml = NEURON_TOML.replace('name = "llamacpp"', 'name = "lab"\nkind = "llamacpp"')
    profiles = (
        Profile(id=DEMO, harness="lab", source=str(demo), args=("--embeddings",), parallel=4, aliases=("demo",)),
        Profile(id=SCRIPTED, harness="llamacpp", vram_mb=1000, aliases=("claude-scripted", "scripted")),
    )
    with (
        scripted_engine() as engine,
        neuron(tmp_path_factory.mktemp("neuron"), toml) as node,
        gateway(node.url, profiles, also={"scripted": engine.neuron.url}) as running,
    ):
        yield ClientFleet(running, engine)


@pytest.fixture
def fleet(session_fleet: ClientFleet, in_flight_zero: list[Callable[[], int]]) -> ClientFleet:
    """The fleet for one test; no request of it is in flight when the test is over."""
    in_flight_zero.append(session_fleet.running.in_flight)
    return session_fleet

"""What a neuron would offer, found out without starting one."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import FakeProbe

from cortex.contract.error import ConfigError
from cortex.neuron.discovery.host import HostReader
from cortex.neuron.offer import find_offer
from cortex.neuron.sampler import Sampler
from cortex.neuron.settings import HarnessEntry, NeuronSettings
from cortex.testing.virtual_clock import VirtualClock


def a_sampler() -> Sampler:
    return Sampler((FakeProbe((1000, 2000)),), HostReader(Path("/no"), "/no/nvcc"), VirtualClock(), frozenset)


def test_an_offer_is_devices_with_their_readings_and_all_harnesses() -> None:
    entries = (
        HarnessEntry(name="server", kind="openai", endpoint="http://localhost:1", models=("m",)),
        HarnessEntry(name="gone", kind="llamacpp", binary="/no/such/llama-server"),
    )
    offer = asyncio.run(find_offer(NeuronSettings(harnesses=entries), {}, a_sampler()))
    assert [device.vram_total_mb for device in offer.inventory.devices] == [1000, 2000]
    assert [reading.vram_free_mb for reading in offer.readings] == [1000, 2000]
    assert [(detail.name, detail.usable) for detail in offer.harnesses] == [("server", True), ("gone", False)]


def test_an_entry_that_its_kind_cannot_use_is_refused_as_at_a_start() -> None:
    settings = NeuronSettings(harnesses=(HarnessEntry(name="server", kind="openai"),))
    with pytest.raises(ConfigError, match="needs `endpoint`"):
        asyncio.run(find_offer(settings, {}, a_sampler()))

"""One harness per entry, in their order; an entry of an unknown kind stays on the list and says why it is of no use."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.neuron.harness.builder import a_launch, a_record, a_request, a_site

from cortex.contract.error import ConfigError
from cortex.neuron.harness.command import CommandHarness
from cortex.neuron.harness.interface import Site
from cortex.neuron.harness.llamacpp import LlamaCppHarness
from cortex.neuron.harness.openai import OpenAiHarness
from cortex.neuron.harness.registry import BUILT_IN, build
from cortex.neuron.refusal import HarnessUnusable
from cortex.neuron.settings import HarnessEntry

ENTRIES = (
    HarnessEntry(name="lab", kind="openai", endpoint="http://h"),
    HarnessEntry(name="abacus"),
    HarnessEntry(name="llamacpp"),
    HarnessEntry(name="second", kind="llamacpp", relay=True),
)


def test_there_is_one_for_each_entry_in_their_order() -> None:
    built = build(ENTRIES, lambda _: a_site())
    assert [(harness.name, harness.kind) for harness in built] == [
        ("lab", "openai"),
        ("abacus", "abacus"),
        ("llamacpp", "llamacpp"),
        ("second", "llamacpp"),
    ]
    assert isinstance(built[0], OpenAiHarness)
    assert isinstance(built[2], LlamaCppHarness)


def test_servers_by_their_command_are_of_one_class() -> None:
    entries = (HarnessEntry(name="vllm"), HarnessEntry(name="sglang"), HarnessEntry(name="command", cmd="x ${PORT}"))
    built = build(entries, lambda _: a_site())
    assert [type(harness) for harness in built] == [CommandHarness] * 3
    assert [harness.kind for harness in built] == ["vllm", "sglang", "command"]


def test_each_entry_has_a_site_of_its_own() -> None:
    asked = []

    def site_for(entry: HarnessEntry) -> Site:
        asked.append(entry.name)
        return a_site()

    build(ENTRIES, site_for)
    assert asked == ["lab", "llamacpp", "second"]


def test_an_entry_that_its_kind_cannot_use_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs `endpoint`"):
        build((HarnessEntry(name="openai"),), lambda _: a_site())


def test_an_unknown_kind_says_what_there_is_and_does_nothing() -> None:
    async def run() -> None:
        (harness,) = build((HarnessEntry(name="sums", kind="abacus"),), lambda _: a_site())
        why = f"this neuron has no harness of kind 'abacus'; it has {', '.join(sorted(BUILT_IN))}"
        detail = await harness.probe()
        assert (detail.name, detail.kind, detail.usable, detail.why_not) == ("sums", "abacus", False, why)
        with pytest.raises(HarnessUnusable) as refusal:
            await harness.prepare(a_request(), ())
        assert refusal.value.message == why
        with pytest.raises(HarnessUnusable):
            await harness.start(a_launch())
        assert await harness.recover(a_record(), Path("log")) is None
        assert await harness.listed() == ()
        assert (harness.device_kinds, harness.capabilities.process_model) == (frozenset(), "foreign")

    asyncio.run(run())

"""Which change of a catalogue's entry makes a loaded instance out of date."""

from typing import Any

import msgspec
import pytest

from cortex.contract.instance import InstanceReport
from cortex.contract.profile import Profile, Variant
from cortex.fleet.revision import SERVING, is_outdated, revision_of
from cortex.fleet.variant import profile_for

PROFILE = Profile(id="m", harness="llamacpp", source="m.gguf", variants={"vllm": Variant(source="hf:m")})


def a_report(profile: Profile = PROFILE, *, harness: str = "llamacpp", kind: str = "llamacpp") -> InstanceReport:
    revision = revision_of(profile_for(profile, harness, kind))
    return InstanceReport(id="m", harness=harness, kind=kind, status="loaded", revision=revision)


def changed(**keys: Any) -> Profile:
    return msgspec.structs.replace(PROFILE, **keys)


@pytest.mark.parametrize(
    "change",
    [
        {"quant": "Q8_0"},
        {"source": "other.gguf"},
        {"args": ("--flash-attn", "on")},
        {"context": 1},
        {"parallel": 2},
        {"mmproj": "p.gguf"},
        {"images_workflow": "w.json"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_how_it_answers_makes_it_outdated(change: dict[str, Any]) -> None:
    assert next(iter(change)) in SERVING
    assert is_outdated(changed(**change), a_report())


@pytest.mark.parametrize(
    "change",
    [
        {"vram_mb": 9},
        {"min_devices": 2},
        {"pinned_on": ("n",)},
        {"aliases": ("a",)},
        {"priority": 1},
        {"min_replicas": 1},
        {"idle_unload_s": 1.0},
        {"labels": {"team": "red"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_where_it_is_and_how_long_it_stays_does_not(change: dict[str, Any]) -> None:
    assert not is_outdated(changed(**change), a_report())


def test_the_table_of_the_harness_that_has_it_is_what_counts() -> None:
    there = a_report(harness="gpu", kind="vllm")
    assert not is_outdated(PROFILE, there)
    assert not is_outdated(changed(source="other.gguf"), there)
    assert is_outdated(changed(variants={"vllm": Variant(source="hf:n")}), there)


def test_one_on_a_harness_that_is_not_wanted_any_more_is_outdated() -> None:
    assert is_outdated(changed(variants={}), a_report(harness="gpu", kind="vllm"))
    assert not is_outdated(changed(harness="gpu", variants={}), a_report(harness="gpu", kind="llamacpp"))


def test_of_one_that_was_not_loaded_by_a_catalogue_nobody_knows_better() -> None:
    assert not is_outdated(changed(source="x"), InstanceReport(id="m", harness="h", status="loaded"))


def test_a_revision_is_the_same_in_every_process() -> None:
    assert revision_of(Profile(id="m", harness="h")) == "dcc0bcebccd86e26"

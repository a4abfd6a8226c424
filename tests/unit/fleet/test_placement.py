"""Where a profile can run, where not, and why."""

import msgspec
import pytest
from tests.unit.fleet.builder import a_discovery, a_node, a_profile, a_report

from cortex.contract.instance import InstanceReport
from cortex.contract.node import HarnessDetail
from cortex.contract.profile import Profile, Variant
from cortex.fleet.device_choice import offered_harness
from cortex.fleet.placement import (
    Placement,
    Rejection,
    find_holders,
    find_valid_placements,
    place,
    ranked,
    rendezvous,
)
from cortex.fleet.view import NodeView

CODER = Profile(
    id="Qwen/Qwen3-Coder-30B-A3B-Instruct",
    harness="mistralrs",
    quant="Q4_K_M",
    vram_mb=19_000,
    min_devices=2,
    min_device_vram_mb=10_000,
    pinned_on=("beast",),
)
VISION = Profile(id="Qwen/Qwen3-VL-8B", harness="mistralrs", quant="Q8_0", vram_mb=10_000, min_devices=1)


def a_fleet() -> list[NodeView]:
    return [
        a_node("quadbrat", (12_000,), harnesses=("mistralrs",)),
        a_node("benjy", (24_000,), harnesses=("mistralrs",)),
        a_node("beast", (32_000, 32_000), harnesses=("mistralrs",)),
    ]


def names(placements: tuple[Placement, ...]) -> list[str]:
    return [placement.node for placement in placements]


def test_profile_of_two_devices_only_goes_to_the_node_with_two() -> None:
    found = find_valid_placements(CODER, a_fleet())
    assert names(found.valid) == ["beast"]
    assert found.valid[0].devices == (0, 1)
    assert {rejection.node: rejection.code for rejection in found.rejected} == {
        "quadbrat": "too_few_devices",
        "benjy": "too_few_devices",
    }


def test_profile_of_one_device_goes_to_any_node() -> None:
    assert sorted(names(find_valid_placements(VISION, a_fleet()).valid)) == ["beast", "benjy", "quadbrat"]


def test_pin_ranks_first_and_excludes_nobody() -> None:
    found = find_valid_placements(a_profile(harness="mistralrs", pinned_on=("quadbrat",)), a_fleet())
    assert names(found.valid)[0] == "quadbrat"
    assert len(found.valid) == 3


def test_pin_to_an_absent_node_changes_nothing() -> None:
    found = find_valid_placements(a_profile(harness="mistralrs", pinned_on=("nowhere",)), a_fleet())
    assert len(found.valid) == 3
    assert not any(placement.is_pinned for placement in found.valid)


def test_node_that_has_the_model_ranks_before_a_pinned_one() -> None:
    nodes = [a_node("a"), a_node("b", models=[a_report("m", "loading")])]
    found = find_valid_placements(a_profile(pinned_on=("a",)), nodes)
    assert names(found.valid) == ["b", "a"]
    assert [placement.has_it for placement in found.valid] == [True, False]


def test_room_ranks_before_the_unknown_and_the_unknown_before_no_room() -> None:
    nodes = [a_node("full", free_mb=[10]), a_node("silent", free_mb=[None]), a_node("free", free_mb=[2000])]
    found = find_valid_placements(a_profile(vram_mb=1000), nodes)
    assert names(found.valid) == ["free", "silent", "full"]
    assert [placement.fits_free for placement in found.valid] == [True, None, False]


def test_among_those_that_fit_the_one_with_most_free_memory_is_first() -> None:
    nodes = [a_node("a", free_mb=[5000]), a_node("b", free_mb=[20_000]), a_node("c", free_mb=[9000])]
    assert names(find_valid_placements(a_profile(), nodes).valid) == ["b", "c", "a"]


def test_equal_nodes_are_ordered_by_rendezvous_the_same_way_from_any_order() -> None:
    nodes = [a_node(name) for name in "abcdef"]
    for model in ("m", "n", "o"):
        forward = names(find_valid_placements(a_profile(model), nodes).valid)
        backward = names(find_valid_placements(a_profile(model), nodes[::-1]).valid)
        assert forward == backward == sorted("abcdef", key=lambda name, model=model: rendezvous(name, model))
    firsts = {names(find_valid_placements(a_profile(f"m{i}"), nodes).valid)[0] for i in range(40)}
    assert len(firsts) == 6, "models spread over equal nodes"


def test_every_node_is_either_valid_or_rejected_with_a_reason() -> None:
    nodes = [
        a_node("good"),
        NodeView(name="unknown", why="connection refused"),
        a_node("other", harnesses=("comfyui",)),
        a_node("down", is_healthy=False, why="connection refused"),
        a_node("small", (500,)),
        a_node("bare", ()),
    ]
    found = find_valid_placements(a_profile(min_device_vram_mb=400), nodes)
    assert names(found.valid) == ["good"]
    reasons = {rejection.node: (rejection.code, rejection.reason) for rejection in found.rejected}
    assert reasons == {
        "unknown": ("not_discovered", "its devices are not known yet (connection refused)"),
        "other": ("no_harness", "offers no harness 'llamacpp' (it has: comfyui)"),
        "down": ("unhealthy", "is not healthy (connection refused)"),
        "small": ("too_big", "1000 MiB do not fit on 1 device of up to 500 MiB"),
        "bare": ("too_few_devices", "has 0 devices, the model needs 1"),
    }
    assert found.may_come()


def test_node_that_can_never_serve_says_so_even_while_it_is_down() -> None:
    found = find_valid_placements(a_profile(min_devices=2), [a_node("a", is_healthy=False)])
    assert found.rejected[0].code == "too_few_devices"
    assert not found.may_come()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("gpu-llama", "gpu-llama"), ("llamacpp", "gpu-llama"), ("comfyui", None), ("vllm", None)],
    ids=["by name", "by kind", "not usable", "not there"],
)
def test_harness_is_found_by_name_and_else_by_kind(wanted: str, expected: str | None) -> None:
    discovery = a_discovery(
        harnesses=("gpu-llama",),
        details=(
            HarnessDetail(name="gpu-llama", kind="llamacpp", usable=True),
            HarnessDetail(name="art", kind="comfyui", usable=False, why_not="no such directory"),
        ),
    )
    assert offered_harness(wanted, discovery) == expected


def test_entry_of_the_very_name_wins_over_one_of_that_kind() -> None:
    discovery = a_discovery(
        harnesses=("other", "llamacpp"), details=(HarnessDetail(name="other", kind="llamacpp", usable=True),)
    )
    assert offered_harness("llamacpp", discovery) == "llamacpp"


def test_devices_are_those_that_the_entry_can_use() -> None:
    """A CPU build on a host with a GPU: sent to the GPU, the neuron would refuse it."""
    details = (HarnessDetail(name="llamacpp", kind="llamacpp", usable=True, device_kinds=("cpu",)),)
    node = a_node(vram_mb=(24_000, 64_000), kinds=("cuda", "cpu"), details=details)
    found = place(a_profile(), node)
    assert isinstance(found, Placement)
    assert found.devices == (1,)


def test_unusable_harness_says_why() -> None:
    detail = HarnessDetail(name="llamacpp", kind="llamacpp", usable=False, why_not="no such binary")
    found = place(a_profile(), a_node(harnesses=(), details=(detail,)))
    assert isinstance(found, Rejection)
    assert found.reason == "cannot use its harness 'llamacpp' (no such binary)"


def test_harness_that_cannot_be_used_for_now_is_no_never() -> None:
    """A neuron looks again all the time: the binary may be installed, the unit mended, a minute later."""
    detail = HarnessDetail(name="llamacpp", kind="llamacpp", usable=False, why_not="no such binary")
    found = find_valid_placements(a_profile(), [a_node(harnesses=(), details=(detail,))])
    assert found.rejected[0].code == "harness_unusable"
    assert found.may_come()


def test_devices_that_a_node_has_reason_to_miss_may_come() -> None:
    node = a_node(vram_mb=())
    assert node.discovery is not None
    blind = msgspec.structs.replace(node.discovery, troubles=("the NVIDIA driver is not loaded",))
    found = find_valid_placements(a_profile(), [msgspec.structs.replace(node, discovery=blind)])
    reason = "has 0 devices, the model needs 1, and may miss some (the NVIDIA driver is not loaded)"
    assert found.rejected == (Rejection("a", "devices_missing", reason),)
    assert found.may_come()


@pytest.mark.parametrize("is_usable", [True, False], ids=["its node is down", "its harness cannot be used"])
def test_what_will_do_on_another_harness_later_is_no_never(is_usable: bool) -> None:
    profile = a_profile(min_devices=2, variants={"vllm": Variant(min_devices=1)})
    details = (HarnessDetail(name="vllm", kind="vllm", usable=is_usable, why_not=None if is_usable else "gone"),)
    names_of = ("llamacpp", "vllm") if is_usable else ("llamacpp",)
    found = place(profile, a_node(harnesses=names_of, details=details, is_healthy=False, why="refused"))
    assert isinstance(found, Rejection)
    assert found.code == ("unhealthy" if is_usable else "harness_unusable")


def test_model_outside_the_catalogue_can_only_be_loaded_where_it_was_found() -> None:
    nodes = [
        a_node("a"),
        a_node("b", models=[a_report("x", "unloaded")]),
        a_node("c", models=[a_report("x", "loaded")]),
        a_node("d", models=[a_report("x")], is_healthy=False, why="timed out"),
    ]
    found = find_holders("x", nodes)
    assert names(found.valid) == ["c", "b"]
    assert all(placement.devices is None for placement in found.valid)
    assert [rejection.reason for rejection in found.rejected] == ["is not healthy (timed out)"]


def test_ranking_of_nothing_is_nothing() -> None:
    assert ranked("m", []) == []


@pytest.mark.parametrize(
    ("is_shared", "devices"), [(True, (0, 1)), (False, (0,))], ids=["one server", "an engine each"]
)
def test_a_model_that_goes_into_a_server_is_placed_where_that_is(is_shared: bool, devices: tuple[int, ...]) -> None:
    detail = HarnessDetail(name="mistralrs", kind="mistralrs", usable=True, is_shared=is_shared)
    report = a_report(VISION.id, "unloaded", devices=(0, 1))
    node = a_node("beast", (32_000, 32_000), harnesses=("mistralrs",), details=(detail,), models=(report,))
    found = place(VISION, node)
    assert isinstance(found, Placement)
    assert found.devices == devices


LLAMA = HarnessDetail(name="llamacpp", kind="llamacpp", usable=True)
VLLM = HarnessDetail(name="fast", kind="vllm", usable=True)
EITHER = a_profile(vram_mb=10_000, variants={"vllm": Variant(vram_mb=30_000, min_devices=2)})


def either_node(vram_mb: tuple[int, ...], *details: HarnessDetail, **keys: object) -> NodeView:
    return a_node(vram_mb=vram_mb, harnesses=[detail.name for detail in details], details=details, **keys)


def test_a_model_goes_to_the_harness_that_a_node_offers_with_what_it_needs_there() -> None:
    (only,) = find_valid_placements(EITHER, [either_node((24_000, 24_000), VLLM)]).valid
    assert (only.harness, only.kind, only.devices) == ("fast", "vllm", (0, 1))
    (rejected,) = find_valid_placements(EITHER, [either_node((24_000,), VLLM)]).rejected
    assert rejected.code == "too_few_devices"


def test_of_two_harnesses_the_models_own_is_taken_unless_it_cannot_run_there() -> None:
    (both,) = find_valid_placements(EITHER, [either_node((24_000, 24_000), VLLM, LLAMA)]).valid
    assert both.harness == "llamacpp"
    greedy = msgspec.structs.replace(
        EITHER, min_device_vram_mb=90_000, variants={"vllm": Variant(min_device_vram_mb=1)}
    )
    (second,) = find_valid_placements(greedy, [either_node((24_000, 24_000), VLLM, LLAMA)]).valid
    assert second.harness == "fast"


def test_the_harness_that_has_the_model_already_is_taken_first() -> None:
    report = InstanceReport(id="m", harness="fast", kind="vllm", status="loaded", devices=(0, 1))
    (there,) = find_valid_placements(EITHER, [either_node((24_000, 24_000), VLLM, LLAMA, models=[report])]).valid
    assert (there.harness, there.has_it) == ("fast", True)


def test_a_node_with_none_of_the_harnesses_names_them_all() -> None:
    (rejected,) = find_valid_placements(EITHER, [a_node(harnesses=["comfyui"])]).rejected
    assert rejected.reason == "offers no harness 'llamacpp' or 'vllm' (it has: comfyui)"


def test_a_model_that_asks_for_a_label_goes_only_to_nodes_that_have_it() -> None:
    nodes = [a_node("attic", labels={"zone": "attic"}), a_node("cellar")]
    assert names(find_valid_placements(a_profile(labels={"zone": "attic"}), nodes).valid) == ["attic"]
    found = find_valid_placements(a_profile(labels={"zone": "cellar"}), nodes)
    assert [rejection.reason for rejection in found.rejected] == [
        "has not the label zone = 'cellar' that the model asks for (it has 'attic')",
        "has not the label zone = 'cellar' that the model asks for (it has none of that name)",
    ]
    assert not found.may_come()


def test_on_a_node_that_has_the_model_the_devices_are_those_where_it_is() -> None:
    """Asked for on others, the neuron would refuse: it is loaded differently."""
    there = a_report("m", devices=(1,), declared_mb=1000)
    for report, devices in ((there, (1,)), (a_report("m"), None)):
        (found,) = find_valid_placements(a_profile(), [a_node("a", (24_000, 24_000), models=[report])]).valid
        assert (found.has_it, found.devices) == (True, devices)

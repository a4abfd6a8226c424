"""What is wrong with a load, and what would be right, before anything is done."""

from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL, FakeHarness, a_request

from cortex.contract.error import MalformedRequest
from cortex.contract.instance import LoadRequest, Victim
from cortex.contract.node import Device, HarnessDetail
from cortex.neuron.harness.interface import Launch, Prepared
from cortex.neuron.instance import Instance
from cortex.neuron.load_check import (
    as_measured,
    check_devices,
    check_request,
    check_same,
    completed,
    essence,
    pick_harness,
)
from cortex.neuron.refusal import HarnessUnusable, LoadedDifferently, NoSuchDevice, UnknownHarness

GPU_0 = Device(index=0, name="GPU A", vram_total_mb=1000)
GPU_1 = Device(index=1, name="GPU B", vram_total_mb=1000)
CPU = Device(index=2, name="CPU C", vram_total_mb=1000, kind="cpu")
DEVICES = (GPU_0, GPU_1, CPU)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"devices": (), "tensor_parallel": 2},
        {"devices": (1, 0), "tensor_parallel": 2},
        {"vram_mb": 0, "context": 1, "parallel": 1, "idle_unload_s": 0, "min_residency_s": 0.5},
        {"model_id": "ü/é b"},
    ],
    ids=str,
)
def test_a_load_that_could_be_right_passes(more: dict) -> None:
    check_request(a_request(**more))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model_id": ""}, "model_id: expected printable text"),
        ({"model_id": " m"}, "model_id: expected printable text"),
        ({"model_id": "a\nb"}, "model_id: expected printable text"),
        ({"model_id": "x" * 201}, "model_id: longer than 200 bytes"),
        ({"model_id": "漢" * 30}, "model_id: longer than 200 bytes"),
        ({"tensor_parallel": 0}, "tensor_parallel: expected at least 1, got 0"),
        ({"vram_mb": -1}, "vram_mb: expected at least 0, got -1"),
        ({"context": 0}, "context: expected at least 1, got 0"),
        ({"parallel": 0}, "parallel: expected at least 1, got 0"),
        ({"idle_unload_s": -0.5}, "idle_unload_s: expected at least 0, got -0.5"),
        ({"min_residency_s": float("nan")}, "min_residency_s: expected at least 0, got nan"),
        ({"revision": ""}, "revision: expected 1 to 64 characters"),
        ({"revision": "r" * 65}, "revision: expected 1 to 64 characters"),
        ({"parallel": 1_000_001}, "parallel: expected at most 1000000, got 1000001"),
        ({"vram_mb": 10**400}, "vram_mb: expected at most 1000000000, got 10000000000000000000$"),
        ({"vram_mb": -(10**400)}, "vram_mb: expected at least 0, got -1"),
        ({"min_residency_s": 1e12}, "min_residency_s: expected at most 1000000000, got 1000000000000.0"),
        ({"devices": (0, 1, 0)}, r"devices: \[0, 1, 0\] names one twice"),
        ({"devices": (0, 1), "tensor_parallel": 1}, r"tensor_parallel is 1, but devices names 2: \[0, 1\]"),
    ],
    ids=str,
)
def test_a_load_that_can_never_be_right_is_refused(more: dict, words: str) -> None:
    with pytest.raises(MalformedRequest, match=words):
        check_request(a_request(**more))


def details_of(*harnesses: FakeHarness, unusable: str = "") -> dict[str, HarnessDetail]:
    return {
        harness.name: HarnessDetail(
            name=harness.name, kind=harness.kind, usable=harness.name != unusable, why_not="no binary"
        )
        for harness in harnesses
    }


def test_a_harness_is_picked_by_name_else_the_first_usable_of_its_kind() -> None:
    one, two, named = FakeHarness("one", kind="k"), FakeHarness("two", kind="k"), FakeHarness("k", kind="other")
    all_three = (one, two, named)
    assert pick_harness("two", all_three, details_of(*all_three)) is two
    assert pick_harness("k", all_three, details_of(*all_three)) is named
    assert pick_harness("k", (one, two), details_of(one, two)) is one
    assert pick_harness("k", (one, two), details_of(one, two, unusable="one")) is two


def test_an_unknown_harness_is_refused_with_those_there_are() -> None:
    one, two = FakeHarness("one"), FakeHarness("two")
    with pytest.raises(UnknownHarness, match="no harness 'vllm' on this node; there are: one, two"):
        pick_harness("vllm", (one, two), details_of(one, two))
    with pytest.raises(UnknownHarness, match="there are: none is configured"):
        pick_harness("vllm", (), {})


def test_a_harness_that_cannot_be_used_is_refused_with_its_reason() -> None:
    one = FakeHarness("one")
    with pytest.raises(HarnessUnusable, match="harness 'one' cannot be used here: no binary"):
        pick_harness("one", (one,), details_of(one, unusable="one"))


def test_devices_must_exist_and_suit_the_harness() -> None:
    harness = FakeHarness("gpu", device_kinds=("cuda",))
    check_devices((1, 0), harness, DEVICES)
    with pytest.raises(NoSuchDevice, match=r"device 3 does not exist; this node has: 0 \(GPU A\), 1 \(GPU B\)"):
        check_devices((0, 3), harness, DEVICES)
    with pytest.raises(NoSuchDevice, match=r"cannot use device 2 \(CPU C, cpu\); it can use: 0, 1"):
        check_devices((2,), harness, DEVICES)


def test_several_mig_devices_are_refused_because_a_process_sees_one() -> None:
    devices = tuple(Device(index=n, name="MIG 3g.71gb", vram_total_mb=71168, kind="mig") for n in range(2))
    harness = FakeHarness(device_kinds=("mig",))
    check_devices((1,), harness, devices)
    with pytest.raises(NoSuchDevice, match="a process sees one MIG device only"):
        check_devices((0, 1), harness, devices)


def test_a_harness_that_needs_no_device_does_not_mind_which_is_named() -> None:
    check_devices((2,), FakeHarness(device_kinds=()), DEVICES)


def a_launch(**more: object) -> Launch:
    return Launch(
        request=a_request(**more),
        prepared=Prepared(need_mb=1, is_estimate=False, parallel=1),
        generation=1,
        nonce="n",
        devices=(GPU_0, GPU_1),
        ordinals=(0, 1),
        log=Path("log"),
    )


HARNESS = FakeHarness("fake", kind="engine")


@pytest.mark.parametrize(
    "wanted",
    [{}, {"harness": "engine"}, {"devices": (1, 0)}, {"devices": ()}, {"tensor_parallel": 2}, {"quant": "Q8_0"}],
    ids=str,
)
def test_what_a_load_leaves_open_is_right_as_it_is(wanted: dict) -> None:
    check_same(a_request(**wanted), HARNESS, a_launch(quant="Q8_0"))


def test_the_same_load_again_is_right_though_a_shared_server_has_put_it_elsewhere() -> None:
    check_same(a_request(devices=(7,)), HARNESS, a_launch(devices=(7,)))
    with pytest.raises(LoadedDifferently, match=r"on devices \[0, 1\], not \[8\]"):
        check_same(a_request(devices=(8,)), HARNESS, a_launch(devices=(7,)))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"harness": "other"}, "with harness fake, not other"),
        ({"devices": (0,)}, r"on devices \[0, 1\], not \[0\]"),
        ({"tensor_parallel": 1}, "on 2 devices, not 1"),
        ({"quant": "Q4_0"}, "with quant Q8_0, not Q4_0"),
        ({"source": "/x.gguf"}, "with source not said, not /x.gguf"),
        ({"quant": "Q4_0", "devices": (0,)}, r"on devices \[0, 1\], not \[0\]; and with quant Q8_0, not Q4_0"),
    ],
    ids=str,
)
def test_what_is_loaded_otherwise_is_never_silently_claimed(wanted: dict, words: str) -> None:
    with pytest.raises(LoadedDifferently, match=f"{MODEL} is loaded {words}: unload it first"):
        check_same(a_request(**wanted), HARNESS, a_launch(quant="Q8_0"))


@pytest.mark.parametrize(
    ("need_mb", "is_estimate", "measured_mb", "expected_mb"),
    [(100, True, 300, 300), (100, True, 50, 100), (100, True, None, 100), (0, True, 300, 300), (100, False, 300, 100)],
    ids=["more than guessed", "less than guessed", "never measured", "no guess", "said by somebody"],
)
def test_an_estimate_is_no_less_than_what_was_measured(
    need_mb: int, is_estimate: bool, measured_mb: int | None, expected_mb: int
) -> None:
    prepared = Prepared(need_mb=need_mb, is_estimate=is_estimate, parallel=1)
    assert as_measured(a_request(), prepared, measured_mb, (0,)).need_mb == expected_mb


def test_a_load_of_which_nobody_has_an_idea_is_refused() -> None:
    prepared = Prepared(need_mb=0, is_estimate=True, parallel=1)
    with pytest.raises(MalformedRequest, match="vram_mb: say what"):
        as_measured(a_request(), prepared, None, (0,))
    assert as_measured(a_request(), prepared, None, ()) == prepared, "without devices nothing is needed"


def loaded_before(harness: FakeHarness, **more: object) -> Instance:
    instance = Instance(MODEL)
    instance.harness = harness
    instance.launch = Launch(
        request=a_request(**more),
        prepared=Prepared(need_mb=1, is_estimate=False, parallel=1),
        generation=1,
        nonce="n",
        devices=(GPU_0,),
        ordinals=(0,),
        log=Path("log"),
    )
    return instance


BY_THE_WAY = {"evict": (Victim(model_id="v", generation=1),), "basis_event": 3, "basis_start_id": "s", "steward": 4}


def test_how_a_load_comes_by_its_memory_and_who_asks_is_no_part_of_what_it_wants() -> None:
    assert essence(a_request(**BY_THE_WAY)) == a_request()


def test_a_bare_load_means_what_was_loaded_before_by_the_means_that_it_names_now() -> None:
    harness = FakeHarness()
    before = loaded_before(harness, quant="Q8_0", context=2048)
    bare = LoadRequest(model_id=MODEL, harness="fake", **BY_THE_WAY)  # type: ignore[arg-type]
    assert completed(bare, harness, before) == a_request(quant="Q8_0", context=2048, **BY_THE_WAY)


def test_a_load_that_says_something_or_was_never_made_or_was_somebody_elses_means_what_it_says() -> None:
    harness, other = FakeHarness(), FakeHarness("other")
    bare = LoadRequest(model_id=MODEL, harness="fake")
    wanting = a_request(context=512)
    assert completed(wanting, harness, loaded_before(harness, quant="Q8_0")) == wanting
    assert completed(bare, harness, None) == completed(bare, harness, Instance(MODEL)) == bare
    assert completed(bare, harness, loaded_before(other)) == bare


def test_a_bare_load_of_another_revision_is_not_what_was_loaded_before() -> None:
    harness = FakeHarness()
    by_hand, by_first = loaded_before(harness, quant="Q8_0"), loaded_before(harness, quant="Q8_0", revision="one")
    first = LoadRequest(model_id=MODEL, harness="fake", revision="one")
    second = LoadRequest(model_id=MODEL, harness="fake", revision="two")
    assert completed(first, harness, by_first) == a_request(quant="Q8_0", revision="one")
    assert completed(first, harness, by_hand) == a_request(quant="Q8_0", revision="one")
    assert completed(LoadRequest(model_id=MODEL, harness="fake"), harness, by_first).revision == "one"
    assert completed(second, harness, by_first) == second

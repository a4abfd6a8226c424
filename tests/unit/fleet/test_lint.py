"""What a catalogue says that is hardly meant, seen against the nodes that there are."""

import pytest
from tests.unit.fleet.builder import a_node, a_profile, a_report

from cortex.contract.node import HarnessDetail
from cortex.contract.profile import Profile, Variant
from cortex.fleet.lint import MOST_TOLD, idle_tables, impossible, lint, never_together, one_way, wrong_estimates
from cortex.fleet.view import NodeView

BEAST = a_node("beast", (32_000, 32_000))
BENJY = a_node("benjy", (24_000,))


def big(model: str, vram_mb: int = 50_000, **keys: object) -> Profile:
    return a_profile(model, **({"vram_mb": vram_mb, "min_devices": 2} | keys))


def test_model_that_no_node_can_ever_hold_is_told_with_what_each_node_lacks() -> None:
    assert lint([big("m", 70_000)], [BEAST, BENJY], "lru") == [
        "m can run on no node: beast: 70000 MiB do not fit on 2 devices of up to 32000 MiB; "
        "benjy: has 1 device, the model needs 2"
    ]
    assert lint([big("m")], [BEAST, BENJY], "lru") == []


def test_nothing_is_impossible_while_a_node_is_not_known() -> None:
    assert list(impossible([big("m", 70_000)], [BEAST, NodeView(name="new")])) == []
    assert list(impossible([big("m", 70_000)], [])) == []


def test_model_whose_harness_cannot_be_used_anywhere_is_told() -> None:
    broken = HarnessDetail(name="llamacpp", kind="llamacpp", usable=False, why_not="no such binary")
    nodes = [a_node("beast", (32_000, 32_000), harnesses=(), details=[broken])]
    assert lint([big("m"), big("n")], nodes, "lru") == [
        f"{model} can run on no node: beast: cannot use its harness 'llamacpp' (no such binary)" for model in "mn"
    ]


def test_node_that_is_down_could_still_serve() -> None:
    assert list(impossible([big("m")], [a_node("beast", (32_000, 32_000), is_healthy=False)])) == []


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("nowhere", ["m is pinned on nowhere, which is no node of this fleet"]),
        ("benjy", ["m is pinned on benjy, which can never serve it: it has 1 device, the model needs 2"]),
        ("beast", []),
    ],
    ids=["absent", "too small", "fine"],
)
def test_pin_that_protects_nothing_is_told(node: str, words: list[str]) -> None:
    assert lint([big("m", pinned_on=(node,))], [BEAST, BENJY], "lru") == words


def test_table_that_is_named_after_no_harness_is_told() -> None:
    vllm = HarnessDetail(name="fast", kind="vllm", usable=False)
    nodes = [a_node(details=[vllm]), a_node("b")]
    profile = big("m", 10, variants={"vllm": Variant(), "fast": Variant(), "llamacpp": Variant(), "vlm": Variant()})
    assert list(idle_tables([profile], nodes)) == ["m has a table named vlm, which is no harness of any node"]
    assert list(idle_tables([profile], [*nodes, NodeView(name="c")])) == []


def test_two_models_that_can_only_swap_with_each_other_are_told() -> None:
    assert lint([big("m"), big("n"), a_profile("small")], [BEAST, BENJY], "lru") == [
        "m and n can run on beast only, and never at the same time"
    ]
    assert lint([big("m"), big("n")], [BEAST, a_node("twin", (32_000, 32_000))], "lru") == [], "one on each"
    assert list(never_together([big("m", 30_000), big("n", 30_000)], [BEAST])) == [], "15000 of each on both"


def test_two_models_fit_together_if_they_do_on_any_devices() -> None:
    one, other = a_profile("m", vram_mb=20_000), a_profile("n", vram_mb=30_000)
    assert list(never_together([one, other], [a_node("a", (32_000, 24_000))])) == []
    assert list(never_together([other, one], [a_node("a", (32_000, 24_000))])) == []
    assert len(list(never_together([one, other], [a_node("a", (32_000, 12_000))]))) == 1


def test_lower_priority_that_can_never_come_up_is_told() -> None:
    low, high = big("low", priority=1), big("high", priority=5)
    (words,) = one_way([low, high], [BEAST, BENJY])
    assert words.startswith("low (priority 1) can run on beast only, and not beside high (priority 5): while that is")
    assert words in lint([low, high], [BEAST], "priority")
    assert words not in lint([low, high], [BEAST], "lru"), "there priorities do not count"
    assert list(one_way([big("low", priority=5), high], [BEAST])) == [], "equals take turns"
    assert list(one_way([big("low", 10_000, priority=1), high], [BEAST])) == [], "it fits beside it"
    assert list(one_way([low, high], [BEAST, a_node("twin", (32_000, 32_000))])) == []


def test_model_without_a_known_need_is_not_judged() -> None:
    assert lint([a_profile("m", vram_mb=None), a_profile("n", vram_mb=None)], [BENJY], "priority") == []


def test_model_that_needs_no_device_stands_in_nobodys_way() -> None:
    assert list(never_together([a_profile("m", min_devices=0), a_profile("n", vram_mb=24_000)], [BENJY])) == []


def test_another_harness_may_be_where_they_fit_together() -> None:
    details = [HarnessDetail(name=name, kind=name, usable=True) for name in ("llamacpp", "vllm")]
    node = a_node("a", (24_000,), harnesses=["llamacpp", "vllm"], details=details)
    one, other = (
        a_profile("m", vram_mb=20_000),
        a_profile("n", vram_mb=20_000, variants={"vllm": Variant(vram_mb=3000)}),
    )
    assert list(never_together([one, other], [node])) == []


@pytest.mark.parametrize(("used_mb", "is_told"), [(19_000, False), (15_300, False), (26_000, True), (14_000, True)])
def test_estimate_far_from_what_was_measured_is_told(used_mb: int, is_told: bool) -> None:
    node = a_node("beast", models=[a_report("m", vram_used_mb=used_mb)])
    words = list(wrong_estimates([a_profile("m", vram_mb=19_000)], [node]))
    assert words == ([f"m: vram_mb is 19000, and on beast it takes {used_mb} MiB"] if is_told else [])
    assert list(wrong_estimates([a_profile("m", vram_mb=None)], [node])) == []
    assert list(wrong_estimates([a_profile("n", vram_mb=1)], [node, NodeView(name="new")])) == []


def test_of_very_many_pairs_some_are_told() -> None:
    words = lint([big(f"m{at}") for at in range(20)], [BEAST], "lru")
    assert len(words) == MOST_TOLD + 1
    assert words[-1] == "and more of the kind"

"""On which harnesses a profile may run, and how it is served there."""

from cortex.contract.profile import Profile, Variant
from cortex.fleet.variant import profile_for, wanted_harnesses

PROFILE = Profile(
    id="m",
    harness="llamacpp",
    source="m.gguf",
    context=4096,
    args=("--flash-attn", "on"),
    variants={
        "vllm": Variant(source="hf:m", vram_mb=40_000, args=()),
        "big": Variant(context=32_768),
        "llamacpp": Variant(parallel=8),
    },
)


def test_its_own_harness_comes_first_and_none_twice() -> None:
    assert wanted_harnesses(PROFILE) == ("llamacpp", "vllm", "big")
    assert wanted_harnesses(Profile(id="m", harness="h")) == ("h",)


def test_a_table_says_what_is_otherwise_there_and_nothing_else() -> None:
    there = profile_for(PROFILE, "gpu-vllm", "vllm")
    assert (there.source, there.vram_mb, there.args, there.context) == ("hf:m", 40_000, (), 4096)


def test_the_table_of_an_entrys_name_is_used_instead_of_its_kinds() -> None:
    there = profile_for(PROFILE, "big", "llamacpp")
    assert (there.context, there.parallel) == (32_768, None)
    assert profile_for(PROFILE, "small", "llamacpp").parallel == 8


def test_without_a_table_all_is_as_the_profile_says() -> None:
    assert profile_for(PROFILE, "mistralrs", "mistralrs") is PROFILE

"""A load says which checkpoint it means by the name of its file."""

import pytest

from cortex.contract.instance import LoadRequest
from cortex.neuron.images.checkpoint import chosen_checkpoint
from cortex.neuron.refusal import SourceMissing

THERE = ("sd/base.safetensors", "sdxl.safetensors", "old\\win.ckpt", "b/twice.ckpt", "c/twice.ckpt", "sdxl.ckpt")


@pytest.mark.parametrize(
    ("model_id", "source", "chosen"),
    [
        ("lab/x", "sd/base.safetensors", "sd/base.safetensors"),
        ("lab/x", "base.safetensors", "sd/base.safetensors"),
        ("lab/x", "base", "sd/base.safetensors"),
        ("lab/x", "win", "old\\win.ckpt"),
        ("lab/x", "c/twice.ckpt", "c/twice.ckpt"),
        ("sd/base.safetensors", None, "sd/base.safetensors"),
        ("stabilityai/base", None, "sd/base.safetensors"),
        ("sdxl.ckpt", None, "sdxl.ckpt"),
    ],
    ids=["whole", "without folder", "without ending", "windows", "one of two", "id", "end of an id", "ending counts"],
)
def test_a_checkpoint_is_found(model_id: str, source: str | None, chosen: str) -> None:
    request = LoadRequest(model_id=model_id, harness="comfyui", source=source)
    assert chosen_checkpoint(request, THERE) == chosen


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("none", "has no checkpoint 'none'; it has: sd/base.safetensors, sdxl.safetensors"),
        ("twice.ckpt", "'twice.ckpt' may be b/twice.ckpt or c/twice.ckpt: give one as `source`"),
        ("sdxl", "'sdxl' may be sdxl.safetensors or sdxl.ckpt"),
    ],
    ids=["none", "two folders", "two endings"],
)
def test_what_is_not_one_checkpoint_is_refused_with_what_there_is(source: str, why: str) -> None:
    with pytest.raises(SourceMissing, match=why) as refusal:
        chosen_checkpoint(LoadRequest(model_id="base", harness="comfyui", source=source), THERE)
    assert set(refusal.value.details["checkpoints"]) <= set(THERE)


def test_a_comfyui_without_checkpoints_says_so() -> None:
    with pytest.raises(SourceMissing, match="it has: none"):
        chosen_checkpoint(LoadRequest(model_id="base", harness="comfyui"), ())

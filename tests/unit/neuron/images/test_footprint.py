"""What a workflow needs is estimated by the model files that it names."""

import pytest
from tests.unit.neuron.images.comfy_scene import with_comfy

from cortex.neuron.images.comfy import Comfy
from cortex.neuron.images.footprint import MIB, USUAL_MB, WORK_MB, estimate_mb, need_mb
from cortex.neuron.images.workflow import read_workflow
from cortex.testing.fake_comfyui import FILE_BYTES, FakeComfyUi

FLUX = """{
    "1": {"class_type": "A", "inputs": {"unet_name": "flux.safetensors", "x": ["${PROMPT}", 1.5, null]}},
    "2": {"class_type": "A", "inputs": {"names": ["t5.GGUF", "note.txt", "${CHECKPOINT}"]}}
}"""
SIZES = {"a.ckpt": 10_000 * MIB, "b.ckpt": 5_000 * MIB + 1}


@pytest.mark.parametrize(
    ("names", "mb"),
    [
        (["a.ckpt"], 10_000 + WORK_MB),
        (["a.ckpt", "b.ckpt"], 15_001 + WORK_MB),
        (["a.ckpt", "unknown.ckpt"], 10_000 + WORK_MB),
        (["b.ckpt", "unknown.ckpt"], USUAL_MB),
        ([], USUAL_MB),
    ],
    ids=["one", "two", "one is unknown", "one that is small is unknown", "none"],
)
def test_files_need_their_size_and_room_for_a_picture(names: list[str], mb: int) -> None:
    assert need_mb(names, SIZES) == mb


@pytest.mark.parametrize(("is_old", "mb"), [(False, FILE_BYTES // MIB + WORK_MB), (True, USUAL_MB)])
def test_a_checkpoint_is_as_large_as_comfyui_says(is_old: bool, mb: int) -> None:
    async def run(_: FakeComfyUi, comfy: Comfy) -> None:
        assert await estimate_mb(comfy, read_workflow(None), "sdxl.safetensors") == mb

    with_comfy(run, is_old=is_old)


def test_every_file_that_a_workflow_names_counts() -> None:
    async def run(_: FakeComfyUi, comfy: Comfy) -> None:
        whole = 3 * FILE_BYTES // MIB + WORK_MB
        assert await estimate_mb(comfy, read_workflow(FLUX), "own.safetensors") == whole

    with_comfy(run, checkpoints=("flux.safetensors", "t5.GGUF", "own.safetensors", "note.txt"))

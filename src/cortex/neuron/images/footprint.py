"""Estimates what a workflow needs of its device, by the sizes of the model files that it names.

ComfyUI tells sizes in its newer versions, under a path that it calls an experiment. Where it does not, or a file is not
among them, a usual need stands in for what is unknown.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from cortex.neuron.images.comfy import Comfy
from cortex.neuron.images.workflow import fill

USUAL_MB = 8192
"""What an SDXL checkpoint and one picture of 1024x1024 take."""
WORK_MB = 2048
"""For one picture of 1024x1024 beside the weights: latents, attention, the decoder, CUDA itself. A guess."""
FOLDERS = ("checkpoints", "diffusion_models", "text_encoders", "clip_vision", "vae", "loras", "controlnet")
ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
MIB = 1 << 20


async def estimate_mb(comfy: Comfy, workflow: object, checkpoint: str) -> int:
    """Return what the models of a workflow need with one picture."""
    names = set(_files(fill(workflow, {"CHECKPOINT": checkpoint}, _Anything())))
    found = await asyncio.gather(*(comfy.sizes_bytes(folder) for folder in FOLDERS))
    return need_mb(names, {name: size for sizes in found for name, size in sizes.items()})


def need_mb(names: Iterable[str], sizes_bytes: Mapping[str, int]) -> int:
    """Return the need of model files and one picture; never less than usual where a size is unknown."""
    known = [sizes_bytes[name] for name in names if name in sizes_bytes]
    whole_mb = -(-sum(known) // MIB) + WORK_MB
    return whole_mb if known and len(known) == len(set(names)) else max(whole_mb, USUAL_MB)


class _Anything(dict[str, object]):
    """Has a value for every placeholder: none of them is a model's."""

    def __missing__(self, key: str) -> object:
        return ""


def _files(value: object) -> Iterator[str]:
    """Yield what looks like the name of a model file in a workflow."""
    if isinstance(value, str) and value.lower().endswith(ENDINGS):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _files(part)

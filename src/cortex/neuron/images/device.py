"""Which of a node's devices a ComfyUI computes on, by what it says of itself.

It uses one, and counts only those that it was shown: by ``--cuda-device``, by ``CUDA_VISIBLE_DEVICES``, which it does
not tell, or all of them. CUDA puts the fastest first, so among different cards the name is what tells.
"""

from collections.abc import Sequence

from cortex.contract.node import Device, DeviceKind
from cortex.neuron.images.answer import Stats

KINDS: dict[str, frozenset[DeviceKind]] = {
    "cpu": frozenset({"cpu"}),
    "cuda": frozenset({"cuda", "mig", "rocm"}),
    "xpu": frozenset({"xpu"}),
}
"""By what PyTorch calls them."""


def device_of(stats: Stats, visible: str | None, devices: Sequence[Device]) -> Device | None:
    """Return the device; None when the node has none like it. ``visible``: the variable, where an operator tells it."""
    memory = stats.memory
    mine = [device for device in devices if device.kind in KINDS.get(memory.type, ())]
    named = [device for device in mine if device.name in memory.name]
    longest = max((len(device.name) for device in named), default=0)  # "RTX 4060" is in "RTX 4060 Ti" as well
    likely = [device for device in named if len(device.name) == longest] or mine
    if len(likely) < 2:
        return likely[0] if likely else None
    place = memory.index or 0
    shown = _shown(stats, visible)
    chosen = _listed(shown[place] if place < len(shown) else str(place), mine)
    return chosen if chosen in likely else likely[0]


def _shown(stats: Stats, visible: str | None) -> list[str]:
    """Return what ComfyUI was shown, in its order; nothing: all of them."""
    argv = [str(word) for word in stats.argv]
    for option in ("--cuda-device", "--default-device"):
        for number, word in enumerate(argv):
            if word == option and number + 1 < len(argv):
                return argv[number + 1].split(",")
            if word.startswith(option + "="):
                return word.partition("=")[2].split(",")
    return [part.strip() for part in visible.split(",")] if visible else []


def _listed(word: str, mine: Sequence[Device]) -> Device | None:
    """Return the device that one entry of the variable means: a place among them, or the begin of a UUID."""
    if word.isdecimal():
        return mine[int(word)] if int(word) < len(mine) else None
    return next((device for device in mine if word and device.uuid and device.uuid.startswith(word)), None)

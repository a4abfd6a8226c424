"""What ComfyUI answers, as far as images need it: its formats as types, and what they mean in words.

Read in its server.py and execution.py, 2024-04 to 2026-11. Fields that some version lacks have defaults.
"""

from typing import Any

import msgspec

from cortex.contract.error import CallerError, CortexError


class Rejected(CallerError):
    """ComfyUI does not take this workflow."""

    code = "workflow_rejected"


class Failed(CortexError):
    """ComfyUI failed at the workflow."""

    code = "engine_failed"


class OutOfMemory(CortexError):
    """ComfyUI ran out of memory."""

    code = "out_of_memory"


class Image(msgspec.Struct, frozen=True):
    """One file of ComfyUI's."""

    filename: str
    subfolder: str = ""
    type: str = "output"


class ModelFile(msgspec.Struct, frozen=True):
    """One of ``GET /experiment/models/{folder}``. ``size`` in bytes; older versions do not tell."""

    name: str
    size: int | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The device that ComfyUI computes on: its name (``cuda:0 NVIDIA …``), and what PyTorch holds of its memory."""

    name: str = ""
    type: str = ""
    index: int | None = None
    torch_vram_total: int = 0
    torch_vram_free: int = 0

    @property
    def held_bytes(self) -> int:
        """What tensors take; 0 on a CPU, where ComfyUI tells of the whole host instead."""
        return 0 if self.type == "cpu" else max(0, self.torch_vram_total - self.torch_vram_free)


class Stats(msgspec.Struct, frozen=True):
    """Answer of ``GET /system_stats``, in part."""

    system: dict[str, Any] = {}
    devices: list[Memory] = []

    @property
    def version(self) -> str | None:
        """Its version, as far as it says."""
        found = self.system.get("comfyui_version")
        return found if isinstance(found, str) else None

    @property
    def argv(self) -> list[Any]:
        """What it was started with."""
        found = self.system.get("argv")
        return found if isinstance(found, list) else []

    @property
    def memory(self) -> Memory:
        """The device that models are on: the first."""
        return self.devices[0] if self.devices else Memory()


class Status(msgspec.Struct, frozen=True):
    """How a workflow ended, and what was told on the way: ``[["execution_error", {…}], …]``."""

    status_str: str = ""
    messages: list[tuple[str, dict[str, Any]]] = []


class Entry(msgspec.Struct, frozen=True):
    """One workflow that has ended, as ``GET /history/{id}`` has it."""

    outputs: dict[str, dict[str, Any]] = {}
    status: Status | None = None


class Queued(msgspec.Struct, frozen=True, array_like=True):
    """One workflow that runs or waits."""

    number: float
    prompt_id: str
    prompt: msgspec.Raw
    extra: dict[str, Any]


class Queue(msgspec.Struct, frozen=True):
    """Answer of ``GET /queue``."""

    queue_running: list[Queued] = []
    queue_pending: list[Queued] = []


def images_in(entry: Entry) -> tuple[Image, ...]:
    """Return what a workflow made: what it saved, or else its previews. Raises: Failed, OutOfMemory."""
    if entry.status is not None and entry.status.status_str == "error":
        raise _failure(dict(entry.status.messages))
    told = [image for output in entry.outputs.values() for image in output.get("images") or ()]
    try:
        found = msgspec.convert(told, list[Image])
    except msgspec.ValidationError as error:
        raise Failed(f"the workflow's outputs are none that are known here: {error}") from None
    kept = [image for image in found if image.type == "output"] or found
    if not kept:
        raise Failed("the workflow made no image: it needs a node like SaveImage or PreviewImage")
    return tuple(kept)


def _failure(told: dict[str, dict[str, Any]]) -> CortexError:
    if "execution_interrupted" in told:
        return Failed("the workflow was interrupted on its node")
    error = told.get("execution_error", {})
    lines = str(error.get("exception_message", "")).strip().splitlines()
    words = f"{error.get('node_type', 'a node')}: {lines[0].strip() if lines else 'no reason given'}"
    is_memory = "OutOfMemory" in str(error.get("exception_type", ""))
    return OutOfMemory(words) if is_memory else Failed(words)


def why_rejected(answer: dict[str, Any]) -> str:
    """Return in words why a workflow was not taken."""
    error, nodes = answer.get("error"), answer.get("node_errors")
    general = error.get("message", "rejected") if isinstance(error, dict) else str(error)
    found = [
        f"{node.get('class_type')}: {fault.get('message')} ({fault.get('details')})"
        for node in (nodes.values() if isinstance(nodes, dict) else ())
        for fault in node.get("errors", ())
    ]
    return "; ".join((str(general), *found))

"""What ComfyUI answers, in words."""

from typing import Any

import msgspec
import pytest

from cortex.contract.error import CortexError
from cortex.neuron.images.answer import Entry, Failed, Image, Memory, OutOfMemory, Stats, images_in, why_rejected

SAVED = {"filename": "a.png", "subfolder": "x", "type": "output"}
SHOWN = {"filename": "b.png", "subfolder": "", "type": "temp"}


def an_entry(outputs: dict[str, Any], status: object = None) -> Entry:
    return msgspec.convert({"prompt": [], "outputs": outputs, "status": status, "meta": {}}, Entry)


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ({"7": {"images": [SAVED, SAVED]}}, ["a.png", "a.png"]),
        ({"7": {"images": [SHOWN]}}, ["b.png"]),
        ({"7": {"images": [SHOWN]}, "9": {"images": [SAVED]}}, ["a.png"]),
        ({"1": {"text": ["x"]}, "7": {"images": [SAVED], "animated": [False]}}, ["a.png"]),
    ],
    ids=["saved", "only shown", "what is saved counts", "other outputs"],
)
def test_the_images_of_a_workflow_are_found(outputs: dict[str, Any], names: list[str]) -> None:
    assert [image.filename for image in images_in(an_entry(outputs))] == names


def test_a_file_is_known_with_its_place() -> None:
    assert images_in(an_entry({"7": {"images": [SAVED]}})) == (Image("a.png", "x", "output"),)


def failed(*messages: object) -> dict[str, object]:
    return {"status_str": "error", "completed": False, "messages": [["execution_start", {}], *messages]}


@pytest.mark.parametrize(
    ("entry", "kind", "words"),
    [
        (an_entry({}), Failed, "made no image"),
        (an_entry({"7": {"images": []}}), Failed, "made no image"),
        (an_entry({"7": {"images": [{"x": 1}]}}), Failed, "none that are known here"),
        (an_entry({"7": {"images": [SAVED]}}, failed(["execution_interrupted", {}])), Failed, "was interrupted"),
        (an_entry({}, failed()), Failed, "a node: no reason given"),
        (
            an_entry(
                {},
                failed(["execution_error", {"node_type": "KSampler", "exception_message": " It broke \n\nTIPS: no"}]),
            ),
            Failed,
            "^KSampler: It broke$",
        ),
        (
            an_entry(
                {},
                failed(
                    [
                        "execution_error",
                        {
                            "node_type": "VAEDecode",
                            "exception_type": "torch.OutOfMemoryError",
                            "exception_message": "Allocation on device \n",
                        },
                    ]
                ),
            ),
            OutOfMemory,
            "^VAEDecode: Allocation on device$",
        ),
    ],
    ids=["no outputs", "no images", "strange", "interrupted", "no reason", "failed", "out of memory"],
)
def test_what_went_wrong_is_told(entry: Entry, kind: type[CortexError], words: str) -> None:
    with pytest.raises(kind, match=words):
        images_in(entry)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "no prompt", "node_errors": []}, "no prompt"),
        ({"error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs"}}, "Prompt has no outputs"),
        ({}, "None"),
        (
            {
                "error": {"message": "Prompt outputs failed validation"},
                "node_errors": {
                    "1": {"class_type": "Loader", "errors": [{"message": "Value not in list", "details": "x: 'y'"}]}
                },
            },
            "Prompt outputs failed validation; Loader: Value not in list (x: 'y')",
        ),
    ],
    ids=["old", "general", "nothing", "at a node"],
)
def test_why_a_workflow_was_not_taken_is_told(answer: dict[str, Any], words: str) -> None:
    assert why_rejected(answer) == words


def test_what_tensors_hold_is_counted_on_gpus() -> None:
    gpu = Memory(name="cuda:0 X", type="cuda", torch_vram_total=100, torch_vram_free=30)
    assert Stats(devices=[gpu]).memory.held_bytes == 70
    assert Stats(devices=[Memory(type="cpu", torch_vram_total=100)]).memory.held_bytes == 0
    assert Stats().memory.held_bytes == 0

"""The fake's nodes are described and checked as ComfyUI does."""

from typing import Any

import pytest

from cortex.neuron.images.workflow import fill, read_workflow
from cortex.testing.fake_comfyui_node import catalogue, check, described

NODES = catalogue(("sdxl.safetensors",))
VALUES: dict[str, object] = {
    "CHECKPOINT": "sdxl.safetensors", "PROMPT": "a", "NEGATIVE_PROMPT": "", "WIDTH": 64, "HEIGHT": 64, "SEED": 1, "N": 1
}  # fmt: skip


def a_workflow() -> Any:
    return fill(read_workflow(None), VALUES, {})


def test_a_workflow_that_is_well_is_taken() -> None:
    assert check(a_workflow(), NODES) is None


@pytest.mark.parametrize(
    ("node", "name", "value", "kind", "details"),
    [
        ("4", "width", 8, "value_smaller_than_min", "width"),
        ("4", "width", 1 << 20, "value_bigger_than_max", "width"),
        ("4", "width", "big", "invalid_input_type", "width, big, could not convert string to float: 'big'"),
        ("5", "seed", None, "required_input_missing", "seed"),
        ("5", "sampler_name", "own", "value_not_in_list", "sampler_name: 'own' not in ['euler', 'dpmpp_2m']"),
        ("5", "model", ["1"], "bad_linked_input", "model"),
        ("5", "model", ["1", 1], "return_type_mismatch", "model, received_type(CLIP) mismatch input_type(MODEL)"),
    ],
)
def test_what_is_wrong_with_an_input_is_told_at_its_node(
    node: str, name: str, value: object, kind: str, details: str
) -> None:
    workflow = a_workflow()
    workflow[node]["inputs"][name] = value
    answer = check(workflow, NODES)
    assert answer is not None
    assert answer["error"]["type"] == "prompt_outputs_failed_validation"
    assert list(answer["node_errors"]) == [node]
    told = answer["node_errors"][node]
    assert (told["class_type"], told["dependent_outputs"]) == (workflow[node]["class_type"], ["7"])
    assert [(fault["type"], fault["details"]) for fault in told["errors"]] == [(kind, details)]


@pytest.mark.parametrize(
    ("workflow", "kind"),
    [
        ({"1": {"class_type": "Own", "inputs": {}}}, "missing_node_type"),
        ({"1": {"inputs": {}}}, "missing_node_type"),
        ({}, "prompt_no_outputs"),
    ],
    ids=["unknown node", "no class", "nothing"],
)
def test_what_is_wrong_with_a_whole_workflow_is_told(workflow: Any, kind: str) -> None:
    answer = check(workflow, NODES)
    assert answer is not None
    assert (answer["error"]["type"], answer["node_errors"]) == (kind, {})


@pytest.mark.parametrize(
    ("is_v3", "form"),
    [(False, [["sdxl.safetensors"], {}]), (True, ["COMBO", {"options": ["sdxl.safetensors"]}])],
    ids=["old", "new"],
)
def test_a_choice_is_described_in_the_form_of_its_version(is_v3: bool, form: object) -> None:
    said = described("CheckpointLoaderSimple", NODES["CheckpointLoaderSimple"], is_v3=is_v3)
    assert said["input"]["required"]["ckpt_name"] == form
    assert (said["output"], said["output_node"]) == (["MODEL", "CLIP", "VAE"], False)

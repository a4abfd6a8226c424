"""Workflow templates: where they come from, what is wrong with them, how they are filled."""

from pathlib import Path

import pytest
from tests.unit.closed_folder import close

from cortex.neuron.images.workflow import LONGEST_BYTES, NAMES, classes, fill, places, read_workflow

OWN = '{"1": {"class_type": "A", "inputs": {"x": ["${SEED}", "a ${PROMPT}"], "y": 2}}}'


def test_the_shipped_template_takes_everything_that_a_request_says() -> None:
    assert places(read_workflow(None)) == set(NAMES)


def test_a_template_is_a_file_or_the_json_itself(tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    file.write_text(OWN)
    assert read_workflow(str(file)) == read_workflow(f"\n {OWN}") == read_workflow(OWN)


def test_the_classes_of_a_workflow_are_known() -> None:
    assert classes(read_workflow(OWN)) == {"A"}


def a_node(text: str) -> dict[str, object]:
    return {"1": {"class_type": "A", "inputs": {"x": text}}}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${SEED}", 7),
        ("seed ${SEED}", "seed 7"),
        ("${PROMPT}", "cat ${SEED}"),
        ("${PROMPT}, ${PROMPT}!", "cat ${SEED}, cat ${SEED}!"),
        ("${WIDTH=512}", 640),
        ("${HEIGHT=512}", 512),
        ("${HEIGHT}", 1024),
        ("${NEGATIVE_PROMPT=blurry, low quality}", "blurry, low quality"),
        ("${NEGATIVE_PROMPT=}", ""),
        ("no ${NEGATIVE_PROMPT=people}", "no people"),
        ("$PROMPT {PROMPT} $${SEED}", "$PROMPT {PROMPT} $7"),
        ("plain", "plain"),
    ],
    ids=[
        "a number stays one",
        "a number in a text",
        "a text is not looked at again",
        "twice",
        "the request goes before the default",
        "a default number",
        "what is said nowhere",
        "a default text",
        "an empty default",
        "a default in a text",
        "no placeholder",
        "nothing to fill",
    ],
)
def test_a_template_is_filled(text: str, filled: object) -> None:
    values = {"SEED": 7, "PROMPT": "cat ${SEED}", "WIDTH": 640}
    assert fill(a_node(text), values, {"HEIGHT": 1024, "NEGATIVE_PROMPT": "none"}) == {
        "1": {"class_type": "A", "inputs": {"x": filled}}
    }


def test_what_stands_in_lists_is_filled_and_the_template_stays_as_it_is() -> None:
    template = read_workflow(OWN)
    filled = fill(template, {"SEED": 7, "PROMPT": "cat"}, {})
    assert filled == {"1": {"class_type": "A", "inputs": {"x": [7, "a cat"], "y": 2}}}
    assert template == read_workflow(OWN)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("portrait", "give an absolute path"),
        ("/none\0/x", "give an absolute path"),
        ("/none/x.json", "no such file on the node"),
        ("/dev/zero", "no such file on the node"),
        ("{", "no workflow in ComfyUI's API format"),
        ("{}", "expected nodes with a class_type"),
        ('{"1": {}}', "expected nodes with a class_type"),
        ('{"1": ' * 2000 + "{}" + "}" * 2000, "no workflow in ComfyUI's API format"),
        ('{"nodes": [], "links": []}', "its menu has an export for that"),
        ('{"1": {"class_type": "A", "inputs": {"x": "${PROMT} ${PROMPT}"}}}', "unknown placeholder PROMT; there are"),
        ('{"1": {"class_type": "A"}}', r"nowhere says \$\{PROMPT\}"),
        ('{"1": {"class_type": "A", "inputs": {"x": "${PROMPT}", "y": "${WIDTH=big}"}}}', "expected a whole number"),
        ('{"1": "' + "x" * LONGEST_BYTES + '"}', "longer than"),
    ],
    ids=[
        "a name",
        "a zero byte",
        "no file",
        "no regular file",
        "no json",
        "empty",
        "no class",
        "deep",
        "the format of the user interface",
        "placeholder",
        "no prompt",
        "a default that is no number",
        "long",
    ],
)
def test_what_is_wrong_with_a_template_is_told(said: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_workflow(said)


def test_a_file_that_is_no_text_or_too_long_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(b'{"\xff"}')
    with pytest.raises(ValueError, match="not UTF-8"):
        read_workflow(str(file))
    file.write_bytes(b"x" * (LONGEST_BYTES + 1))
    with pytest.raises(ValueError, match="longer than"):
        read_workflow(str(file))


def test_a_file_that_the_neuron_may_not_look_at_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close(monkeypatch, tmp_path / "home")
    with pytest.raises(ValueError, match="no such file on the node"):
        read_workflow(str(tmp_path / "home" / "x.json"))

"""Templates of ComfyUI workflows, in its API format, with ``${PROMPT}`` and the like where a request fills in.

A text that is nothing but a placeholder becomes the value itself, so numbers stay numbers. ``${WIDTH=512}`` says what
stands there when a request does not. What is filled in is never looked at again: a prompt may say ``${SEED}``.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

DEFAULT = Path(__file__).with_name("text_to_image.json")
LONGEST_BYTES = 64 << 10
"""A process is given its template in its environment, where one variable may have 128 KiB."""
TEXTS = ("CHECKPOINT", "PROMPT", "NEGATIVE_PROMPT")
NUMBERS = ("WIDTH", "HEIGHT", "SEED", "N")
NAMES = (*TEXTS, *NUMBERS)
_NOT_API = "no workflow in ComfyUI's API format (its menu has an export for that)"
_PLACE = re.compile(r"\$\{(\w+)(?:=([^{}]*))?\}")

Workflow = dict[str, dict[str, object]]


def read_workflow(said: str | None) -> Workflow:
    """Return the template that a catalogue names: an absolute path here, or the JSON itself; None: the shipped one.

    Raises: ValueError with what is wrong.
    """
    text = said if said is not None and said.lstrip().startswith("{") else _read(said)
    if len(text.encode()) > LONGEST_BYTES:
        raise ValueError(f"longer than {LONGEST_BYTES} bytes")
    try:
        workflow = msgspec.json.decode(text, type=Workflow)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{_NOT_API}: {error}") from None
    if not workflow or not all(isinstance(node.get("class_type"), str) for node in workflow.values()):
        raise ValueError(f"{_NOT_API}: expected nodes with a class_type")
    _check_places(workflow)
    return workflow


def places(value: object) -> frozenset[str]:
    """Return the names of the placeholders in a template."""
    return frozenset(name for name, _ in _found(value))


def classes(workflow: Workflow) -> frozenset[str]:
    """Return the classes of a workflow's nodes."""
    return frozenset(str(node["class_type"]) for node in workflow.values())


def fill(value: object, values: Mapping[str, object], otherwise: Mapping[str, object]) -> object:
    """Return a template with its placeholders replaced: by ``values``, else its own default, else ``otherwise``."""
    if isinstance(value, dict):
        return {key: fill(part, values, otherwise) for key, part in value.items()}
    if isinstance(value, list):
        return [fill(part, values, otherwise) for part in value]
    if not isinstance(value, str):
        return value
    whole = _PLACE.fullmatch(value)
    if whole:
        return _value(whole, values, otherwise)
    return _PLACE.sub(lambda found: str(_value(found, values, otherwise)), value)


def _value(found: re.Match[str], values: Mapping[str, object], otherwise: Mapping[str, object]) -> object:
    name, default = found[1], found[2]
    if name in values:
        return values[name]
    if default is None:
        return otherwise[name]
    return int(default) if name in NUMBERS else default


def _found(value: object) -> Iterator[tuple[str, str | None]]:
    """Yield name and default of every placeholder."""
    if isinstance(value, str):
        yield from ((found[1], found[2]) for found in _PLACE.finditer(value))
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _found(part)


def _check_places(workflow: Workflow) -> None:
    found = list(_found(workflow))
    unknown = sorted({name for name, _ in found} - set(NAMES))
    if unknown:
        raise ValueError(f"unknown placeholder {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if "PROMPT" not in dict(found):
        raise ValueError("nowhere says ${PROMPT}: whatever is asked for, the image would be the same")
    for name, default in found:
        if name in NUMBERS and default is not None and not re.fullmatch(r"\d{1,18}", default, re.ASCII):
            raise ValueError(f"${{{name}={default}}}: expected a whole number")


def _read(path: str | None) -> str:
    file = DEFAULT if path is None else Path(path)
    if not file.is_absolute() or "\0" in str(file):
        raise ValueError(f"'{path}': give an absolute path on the node, or the JSON itself")
    if not os.path.isfile(file):
        raise ValueError(f"'{path}': no such file on the node")
    try:
        with file.open("rb") as stream:
            return stream.read(LONGEST_BYTES + 1).decode()
    except OSError as error:
        raise ValueError(f"'{path}': cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"'{path}': not UTF-8, as JSON is") from None

"""What gateway and neuron say to each other is understood by the version before and the version after.

``tests/data/wire/`` has, of the last release, what each body must have and which words each field may hold. Who adds a
field gives it a default; a new word is understood one version before it is said. ``test_the_record_is_whole`` says how
the record is renewed, which is done with a release.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from tests.arch.source import ROOT

from cortex.contract.event import NodeChange, NodeGap
from cortex.contract.instance import (
    EndpointAnswer,
    InstanceReport,
    LoadAnswer,
    LoadRequest,
    NeuronErrorAnswer,
    PinAnswer,
    PinRequest,
    UnloadAnswer,
    UnloadRequest,
)
from cortex.contract.lease import LeaseAnswer, LeasePost
from cortex.contract.node import Discovery, Health, MaintenanceAnswer, MaintenanceRequest, RestartAnswer, RestartRequest
from cortex.contract.snapshot import NodeSnapshot

RECORD = ROOT / "tests" / "data" / "wire" / "0.1.json"

TOLD_BY_NEURONS = (
    Discovery, Health, InstanceReport, LeaseAnswer, NodeChange, NodeGap, NodeSnapshot, EndpointAnswer, LoadAnswer,
    UnloadAnswer, PinAnswer, RestartAnswer, MaintenanceAnswer, NeuronErrorAnswer,
)  # fmt: skip
ASKED_BY_GATEWAYS = (LoadRequest, UnloadRequest, PinRequest, RestartRequest, MaintenanceRequest)
REPORTED_BY_GATEWAYS = (LeasePost,)
BODIES = (*TOLD_BY_NEURONS, *ASKED_BY_GATEWAYS, *REPORTED_BY_GATEWAYS)


def parts(kind: inspect.Type) -> Iterator[inspect.Type]:
    """Go through a type and all that it is made of."""
    yield kind
    if isinstance(kind, inspect.StructType):
        inner = [field.type for field in kind.fields]
    elif isinstance(kind, inspect.UnionType):
        inner = list(kind.types)
    elif isinstance(kind, inspect.VarTupleType):
        inner = [kind.item_type]
    elif isinstance(kind, inspect.DictType):
        inner = [kind.key_type, kind.value_type]
    else:
        inner = []
    for one in inner:
        yield from parts(one)


def structs_of(*bodies: type) -> dict[str, inspect.StructType]:
    found = (part for body in bodies for part in parts(inspect.type_info(body)))
    return {part.cls.__name__: part for part in found if isinstance(part, inspect.StructType)}


def words_of(kind: inspect.Type) -> set[str]:
    """Return the fixed words that a field may hold."""
    if isinstance(kind, inspect.StructType):
        return set()
    own = set(map(str, kind.values)) if isinstance(kind, inspect.LiteralType) else set()
    inner = kind.types if isinstance(kind, inspect.UnionType) else [getattr(kind, "item_type", None)]
    return own.union(*(words_of(one) for one in inner if one is not None))


def as_written() -> dict[str, Any]:
    """Return what the contract of this version demands, in the form of the record."""
    return {
        name: {
            "required": sorted(field.encode_name for field in struct.fields if field.required),
            "words": {field.encode_name: sorted(words) for field in struct.fields if (words := words_of(field.type))},
        }
        for name, struct in sorted(structs_of(*BODIES).items())
    }


RECORDED: dict[str, Any] = json.loads(RECORD.read_text())


def test_the_record_is_whole() -> None:
    """Renewed by ``python -m tests.unit.contract.test_version_wire``, when a version has been released."""
    assert set(RECORDED) <= set(structs_of(*BODIES)), "a body of the last version is gone: it still sends it"


@pytest.mark.parametrize("name", sorted(structs_of(*BODIES)))
def test_nothing_is_required_that_the_last_version_did_not_send(name: str) -> None:
    before = RECORDED.get(name)
    required = set(as_written()[name]["required"])
    assert before is None or required <= set(before["required"]), "give the new field a default"


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_every_word_of_the_last_version_is_still_understood(name: str) -> None:
    now = as_written()[name]["words"]
    lost = {field: set(words) - set(now.get(field, words)) for field, words in RECORDED[name]["words"].items()}
    assert not any(lost.values())


@pytest.mark.parametrize("name", sorted(structs_of(*TOLD_BY_NEURONS, *REPORTED_BY_GATEWAYS)))
def test_what_is_told_may_have_fields_that_nobody_knows_here(name: str) -> None:
    assert not structs_of(*BODIES)[name].forbid_unknown_fields


@pytest.mark.parametrize("body", ASKED_BY_GATEWAYS, ids=lambda body: body.__name__)
def test_what_is_asked_for_names_only_what_is_wanted(body: type) -> None:
    """An order with an unknown field is refused, not half carried out: so one that wants nothing new has none."""
    struct = structs_of(body)[body.__name__]
    config = body.__struct_config__  # type: ignore[attr-defined]
    assert struct.forbid_unknown_fields
    assert config.omit_defaults or all(field.required for field in struct.fields)


def test_an_order_for_something_that_is_not_known_here_is_refused_by_its_name() -> None:
    order = msgspec.json.encode({"model_id": "m", "harness": "llamacpp", "lora": "x"})
    with pytest.raises(msgspec.ValidationError, match="lora"):
        msgspec.json.decode(order, type=LoadRequest)


if __name__ == "__main__":
    RECORD.write_text(json.dumps(as_written(), indent=1, sort_keys=True) + "\n")

"""What is kept of a response, under its id: the object as the client was given it, and every item that led to it.

A record stands for itself: it holds the items of the responses before it, too, and pictures as they were fetched, so
that nothing else needs to be kept or reached to go on from it. Instructions are in the object only: they do not carry
over. Where records are kept, and for how long, is decided elsewhere.

Ids of items tell whose they are: ``resp_<24 letters>`` has ``msg_<24 letters>_0`` and, for what went in, ``…_i0``.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

RESPONSE_PREFIX = "resp_"

UNFINISHED = ("queued", "in_progress")
"""What a response is at that has no end yet."""

_ITEM_ID = re.compile(r"[a-z]{1,8}_([A-Za-z0-9]+)_i?\d{1,9}")
_PREFIX_OF_TYPE = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
}

_encode = msgspec.json.Encoder().encode


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one response."""

    response: msgspec.Raw
    input: list[msgspec.Raw]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a response that is kept."""

    id: str
    status: str
    background: bool | None = None
    output: list[msgspec.Raw] = []


class _Identified(msgspec.Struct):
    id: str = ""


_decode_id = msgspec.json.Decoder(_Identified).decode
_decode = msgspec.json.Decoder(Record).decode
_decode_head = msgspec.json.Decoder(Head).decode


def record_bytes(response: bytes, items: list[msgspec.Raw]) -> bytes:
    """Return the record of a response, given as its object, and the items that led to it."""
    return _encode(Record(response=msgspec.Raw(response), input=items))


def read_record(record: bytes) -> tuple[Record, Head]:
    """Return a record and what it says. Raises: msgspec.DecodeError when it is none."""
    found = _decode(record)
    return found, _decode_head(found.response)


def is_unfinished(record: bytes) -> bool:
    """Tell whether the response of a record has no end yet."""
    return read_record(record)[1].status in UNFINISHED


def with_status(record: Record, status: str, error: Mapping[str, str] | None = None) -> Record:
    """Return a record whose response is at another status, for a reason or for none."""
    response = msgspec.json.decode(record.response, type=dict[str, msgspec.Raw])
    response["status"] = msgspec.Raw(_encode(status))
    if error is not None:
        response["error"] = msgspec.Raw(_encode(error))
    return Record(response=msgspec.Raw(_encode(response)), input=record.input)


def item_id(item_type: str, response_id: str, place: int, *, is_input: bool = False) -> str:
    """Return the id of the item at a place of a response's output or input."""
    prefix = _PREFIX_OF_TYPE.get(item_type, "item_")
    return f"{prefix}{response_id.removeprefix(RESPONSE_PREFIX)}_{'i' if is_input else ''}{place}"


def response_of_item(reference: str) -> str | None:
    """Return the id of the response that an item belongs to; None when it is no id of ours."""
    found = _ITEM_ID.fullmatch(reference)
    return RESPONSE_PREFIX + found[1] if found else None


def items_by_id(record: bytes) -> dict[str, msgspec.Raw]:
    """Return the items of a record by their ids, as they came in, which is how they are listed, and went out."""
    found, head = read_record(record)
    items = {item["id"]: msgspec.Raw(_encode(item)) for item in input_items(found, head)}
    return items | {_decode_id(raw).id: raw for raw in head.output}


def input_items(record: Record, head: Head) -> list[dict[str, Any]]:
    """Return what led to a response as OpenAI lists it: every item with an id, messages with a list of parts."""
    return [_listed(msgspec.json.decode(raw), head.id, place) for place, raw in enumerate(record.input)]


def _listed(item: dict[str, Any], response_id: str, place: int) -> dict[str, Any]:
    item.setdefault("type", "message")
    if not isinstance(item.get("id"), str) or not item["id"]:
        item["id"] = item_id(str(item["type"]), response_id, place, is_input=True)
    if item["type"] == "message" and isinstance(item.get("content"), str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        item["content"] = [{"type": kind, "text": item["content"]}]
    if item["type"] != "reasoning":
        item.setdefault("status", "completed")
    return item

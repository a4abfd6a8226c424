"""A strict reader of Responses' streams: what it accepts, every client can read. For tests.

``created``, ``in_progress``, then items one after the other, indices from 0 without a gap, each added, filled by events
of its own kind, and done once with just what was told of it; at the end ``completed``, ``incomplete`` or ``failed``
with all of it. Sequence numbers go up by one from 0; ids of items differ from each other and from ids of calls.
"""

import json
import re
from typing import Any

Event = dict[str, Any]

_EVENT = re.compile(rb"event: ([\w.]+)\ndata: ([^\n\r]+)\n\n")
ENDS = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
_PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}
_SCRIPTS = {
    "message": (
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
    ),
    "reasoning": (
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    ),
    "function_call": ("response.function_call_arguments.delta", "response.function_call_arguments.done"),
    "custom_tool_call": ("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"),
}
MEMBERS = {
    *("id", "object", "created_at", "status", "completed_at", "background", "error", "incomplete_details"),
    *("instructions", "max_output_tokens", "max_tool_calls", "model", "output", "parallel_tool_calls"),
    *("previous_response_id", "prompt_cache_key", "reasoning", "safety_identifier", "service_tier", "store"),
    *(
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "usage",
        "user",
        "metadata",
    ),
}


def events_of(stream: bytes) -> list[Event]:
    """Take the stream apart; every byte of it has to belong to an event."""
    found, end = [], 0
    for match in _EVENT.finditer(stream):
        assert match.start() == end, f"no event: {stream[end : match.start()]!r}"
        end = match.end()
        data = json.loads(match[2])
        assert data["type"] == match[1].decode(), "type and event differ"
        found.append(data)
    assert end == len(stream), f"no event: {stream[end:]!r}"
    return found


def checked(stream: bytes) -> Event:
    """Read a whole stream strictly; return the ``response`` at its end."""
    events = events_of(stream)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    for event in events[:2]:
        assert check_response(event["response"])["status"] == "in_progress"
        assert event["response"]["output"] == []
    last = events[-1]
    assert last["type"] in ENDS, f"the stream ends with {last['type']}"
    final = check_response(last["response"])
    assert final["status"] == ENDS[last["type"]]
    assert final["id"] == events[0]["response"]["id"]
    items = _items(events[2:-1], is_failed=final["status"] == "failed")
    assert final["output"] == items
    return final


def check_response(response: Event) -> Event:
    """Check that an object has every member that it must have, and no items that could be mistaken for others."""
    assert set(response) == MEMBERS
    assert response["object"] == "response"
    assert response["id"].startswith("resp_")
    ids = [item["id"] for item in response["output"]]
    call_ids = [item["call_id"] for item in response["output"] if "call_id" in item]
    assert len({*ids, *call_ids}) == len(ids) + len(call_ids)
    for item in response["output"]:
        assert item["id"].startswith(_PREFIXES[item["type"]])
        if item["type"] == "function_call":
            assert isinstance(json.loads(item["arguments"]), dict)
    if response["usage"] is not None:
        assert set(response["usage"]) == {
            *("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens")
        }
    return response


def _items(events: list[Event], *, is_failed: bool) -> list[Event]:
    """Return the items that were told of. The last one of a stream that failed may be left as it was."""
    items: list[Event] = []
    inside: list[Event] | None = None
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert inside is None, "an item within an item"
            assert event["output_index"] == len(items), "a gap between indices"
            assert event["item"]["status"] == "in_progress"
            items.append(event["item"])
            inside = []
            continue
        assert inside is not None, f"{kind} outside of any item"
        assert event["output_index"] == len(items) - 1
        if kind == "response.output_item.done":
            _check_script(items[-1], inside, event["item"])
            items[-1], inside = event["item"], None
        else:
            assert event["item_id"] == items[-1]["id"]
            assert kind in _SCRIPTS[items[-1]["type"]], f"{kind} in a {items[-1]['type']}"
            inside.append(event)
    if inside is not None:
        assert is_failed, "an item is never done"
        items[-1] = _as_far(items[-1], inside)
    return items


def _as_far(item: Event, inside: list[Event]) -> Event:
    """Return an item that was left open as the object has it."""
    text = "".join(event.get("delta", "") for event in inside)
    part = {**inside[0]["part"], "text": text}
    return {**item, "status": "incomplete", "content" if item["type"] == "message" else "summary": [part]}


def _check_script(added: Event, inside: list[Event], done: Event) -> None:
    script, kinds = _SCRIPTS[done["type"]], [event["type"] for event in inside]
    deltas = [kind for kind in kinds if kind.endswith(".delta")]
    assert kinds == [step for name in script for step in (deltas if name.endswith(".delta") else [name])]
    assert all(event["delta"] for event in inside if "delta" in event), "an empty delta"
    said = "".join(event.get("delta", "") for event in inside)
    if done["type"] in ("message", "reasoning"):
        parts = done["content" if done["type"] == "message" else "summary"]
        assert said, "an empty item"
        assert [part["text"] for part in parts] == [said]
        assert inside[0]["part"] == {**parts[0], "text": ""}
        assert inside[-2]["text"] == said
        assert inside[-1]["part"] == parts[0]
    else:
        member = "arguments" if done["type"] == "function_call" else "input"
        assert done[member] == inside[-1][member] == said
        assert done["call_id"] == added["call_id"]
        assert done["name"] == added["name"]
    assert done["id"] == added["id"]
    assert done["status"] in ("completed", "incomplete")

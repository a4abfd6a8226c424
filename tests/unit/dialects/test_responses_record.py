"""A record has all that is needed to go on from a response, and finds items by the ids that clients were told."""

import json
from typing import Any

import msgspec
import pytest
from tests.unit.dialects.responses_scene import assistant, call, output, user

from cortex.dialects.responses_record import (
    Record,
    input_items,
    item_id,
    items_by_id,
    read_record,
    record_bytes,
    response_of_item,
    with_status,
)

ID = "resp_0123456789abcdef01234567"


def a_record(*items: Any, output: Any = (), **members: Any) -> bytes:
    response = {"id": ID, "status": "completed", "background": False, "output": output, **members}
    return record_bytes(json.dumps(response).encode(), [msgspec.Raw(json.dumps(item).encode()) for item in items])


def listed(*items: Any) -> list[dict[str, Any]]:
    return input_items(*read_record(a_record(*items)))


def test_what_was_put_in_comes_out() -> None:
    record, head = read_record(a_record(user("hi"), output=[assistant("ho")], model="m"))
    assert json.loads(bytes(record.response))["model"] == "m"
    assert (head.id, head.status, head.background) == (ID, "completed", False)
    assert [json.loads(bytes(item)) for item in (*record.input, *head.output)] == [user("hi"), assistant("ho")]


@pytest.mark.parametrize("record", [b"", b"{}", b'{"response":{},"input":[]}', b"[]"])
def test_what_is_no_record_is_told_apart(record: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_record(record)


def test_an_items_id_tells_whose_it_is() -> None:
    assert item_id("message", ID, 3) == "msg_0123456789abcdef01234567_3"
    assert response_of_item(item_id("message", ID, 3)) == ID
    assert response_of_item(item_id("custom_tool_call_output", ID, 12, is_input=True)) == ID
    assert item_id("function_call", ID, 3) != item_id("function_call", ID, 3, is_input=True)


@pytest.mark.parametrize("reference", ["", "msg_1", "msg__0", "a b_c_1", "msg_x_", "resp_0123", "msg_a_1\n"])
def test_an_id_of_somebody_else_is_nobodys(reference: str) -> None:
    assert response_of_item(reference) is None


def test_every_item_is_listed_with_a_type_and_an_id() -> None:
    items = listed({"role": "user", "content": "hi"}, call("c1"), output("c1"), {"type": "other", "id": ""})
    assert [item["type"] for item in items] == ["message", "function_call", "function_call_output", "other"]
    assert [item["id"].partition("_")[0] for item in items] == ["msg", "fc", "fco", "item"]
    assert len({item["id"] for item in items}) == 4
    assert all(item["status"] == "completed" for item in items)


def test_a_message_is_listed_with_a_list_of_parts() -> None:
    one, two = listed(user("hi"), {"role": "assistant", "content": "ho"})
    assert one["content"] == [{"type": "input_text", "text": "hi"}]
    assert two["content"] == [{"type": "output_text", "text": "ho"}]


def test_an_item_keeps_the_id_that_it_came_with() -> None:
    assert listed({**assistant("ho"), "id": "msg_mine"})[0]["id"] == "msg_mine"


def test_an_item_is_found_by_its_id_among_what_went_in_and_what_came_out() -> None:
    answer = {**assistant("ho"), "id": item_id("message", ID, 0)}
    found = items_by_id(a_record(user("hi"), output=[answer]))
    assert set(found) == {item_id("message", ID, 0), item_id("message", ID, 0, is_input=True)}
    assert json.loads(bytes(found[answer["id"]])) == answer
    asked = json.loads(bytes(found[item_id("message", ID, 0, is_input=True)]))
    assert asked["content"] == [{"type": "input_text", "text": "hi"}]


def test_only_the_status_changes_with_the_status() -> None:
    record, _ = read_record(a_record(user("hi"), status="queued", model="m"))
    changed: Record = with_status(record, "cancelled")
    assert json.loads(bytes(changed.response)) == {**json.loads(bytes(record.response)), "status": "cancelled"}
    assert changed.input == record.input

"""What is asked about a kept response is answered from the shelf, or refused as OpenAI's service would."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from cortex.contract.error import CallerError, MalformedRequest, ResponseNotFound
from cortex.dialects.interface import Keep
from cortex.dialects.responses_record import record_bytes
from cortex.gateway.data.page import Answer
from cortex.gateway.data.response_page import cancel, delete, list_input_items, retrieve
from cortex.gateway.data.response_shelf import MemoryShelf
from cortex.gateway.edge_error import status_of
from cortex.gateway.ports import ShelfLimit
from cortex.testing.virtual_clock import VirtualClock

ID = "resp_0123456789abcdef01234567"


class Nothing:
    """Runs nothing; implements ``response_page.Running``."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    def runs(self, response_id: str) -> bool:
        return False

    def record(self, response_id: str) -> bytes | None:
        return None

    def stop(self, response_id: str) -> None:
        self.stopped.append(response_id)


def a_shelf(status: str = "completed", *, background: bool = False, items: int = 1) -> MemoryShelf:
    shelf = MemoryShelf(ShelfLimit(), VirtualClock().now_s)
    asyncio.run(shelf.put(Keep(id=ID, record=a_record(status, background=background, items=items))))
    return shelf


def a_record(status: str, *, background: bool = True, items: int = 1) -> bytes:
    response = {"id": ID, "object": "response", "status": status, "background": background, "output": []}
    said = [msgspec.Raw(b'{"role":"user","content":"%d"}' % number) for number in range(items)]
    return record_bytes(json.dumps(response).encode(), said)


def body_of(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.body)
    return found


def listed(shelf: MemoryShelf, **query: str) -> dict[str, Any]:
    return body_of(asyncio.run(list_input_items(shelf, ID, query)))


def texts(page: dict[str, Any]) -> list[str]:
    return [item["content"][0]["text"] for item in page["data"]]


def test_a_response_is_told_of_as_it_was() -> None:
    assert body_of(asyncio.run(retrieve(a_shelf(), Nothing(), ID, {}))) == {
        "id": ID,
        "object": "response",
        "status": "completed",
        "background": False,
        "output": [],
    }


def test_a_kept_response_is_not_streamed_again() -> None:
    with pytest.raises(CallerError, match="leave out stream"):
        asyncio.run(retrieve(a_shelf(), Nothing(), ID, {"stream": "true"}))


def test_one_that_is_deleted_is_gone() -> None:
    shelf = a_shelf()
    assert body_of(asyncio.run(delete(shelf, Nothing(), ID))) == {"id": ID, "object": "response", "deleted": True}
    with pytest.raises(ResponseNotFound):
        asyncio.run(retrieve(shelf, Nothing(), ID, {}))


def test_one_that_is_not_kept_is_not_found() -> None:
    shelf, other = a_shelf(), "resp_other"
    for asking in (
        retrieve(shelf, Nothing(), other, {}),
        delete(shelf, Nothing(), other),
        cancel(shelf, Nothing(), other),
        list_input_items(shelf, other, {}),
    ):
        with pytest.raises(ResponseNotFound, match="Response with id 'resp_other' not found") as caught:
            asyncio.run(asking)
        assert status_of(caught.value) == 404


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_one_without_an_end_is_stopped_and_kept_as_cancelled(status: str) -> None:
    shelf, running = a_shelf(status, background=True), Nothing()
    assert body_of(asyncio.run(cancel(shelf, running, ID)))["status"] == "cancelled"
    assert body_of(asyncio.run(retrieve(shelf, Nothing(), ID, {})))["status"] == "cancelled"
    assert running.stopped == [ID]


@pytest.mark.parametrize("status", ["completed", "failed", "incomplete", "cancelled"])
def test_one_with_an_end_is_told_of_as_it_is(status: str) -> None:
    assert body_of(asyncio.run(cancel(a_shelf(status, background=True), Nothing(), ID)))["status"] == status


def test_one_that_ends_while_it_is_being_stopped_keeps_its_end() -> None:
    class Ending(MemoryShelf):
        """One in which the response has its end when it is asked for again."""

        async def get(self, response_id: str) -> bytes | None:
            found = await super().get(response_id)
            await self.put(Keep(id=response_id, record=a_record("completed")))
            return found

    shelf = Ending(ShelfLimit(), VirtualClock().now_s)
    asyncio.run(shelf.put(Keep(id=ID, record=a_record("in_progress"))))
    assert body_of(asyncio.run(cancel(shelf, Nothing(), ID)))["status"] == "completed"
    assert body_of(asyncio.run(retrieve(shelf, Nothing(), ID, {})))["status"] == "completed"


def test_one_whose_client_waits_cannot_be_cancelled() -> None:
    with pytest.raises(CallerError, match="Cannot cancel a synchronous response"):
        asyncio.run(cancel(a_shelf("completed"), Nothing(), ID))


def test_what_went_in_is_listed_newest_first_or_oldest_first() -> None:
    shelf = a_shelf(items=3)
    assert texts(listed(shelf)) == ["2", "1", "0"]
    assert texts(listed(shelf, order="asc")) == ["0", "1", "2"]


def test_a_list_comes_a_page_at_a_time() -> None:
    shelf = a_shelf(items=5)
    first = listed(shelf, limit="2")
    assert (texts(first), first["has_more"], first["object"]) == (["4", "3"], True, "list")
    assert (first["first_id"], first["last_id"]) == (first["data"][0]["id"], first["data"][1]["id"])
    second = listed(shelf, limit="3", after=first["last_id"])
    assert (texts(second), second["has_more"]) == (["2", "1", "0"], False)
    assert listed(shelf, after=second["last_id"])["data"] == []


def test_a_page_has_20_items_unless_another_number_is_asked_for() -> None:
    shelf = a_shelf(items=30)
    assert len(listed(shelf)["data"]) == 20
    assert len(listed(shelf, limit="100")["data"]) == 30


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"order": "up"}, "order"),
        ({"after": "msg_other"}, "after"),
    ],
)
def test_a_page_that_cannot_be_had_is_refused(query: dict[str, str], param: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        listed(a_shelf(), **query)
    assert caught.value.details["param"] == param

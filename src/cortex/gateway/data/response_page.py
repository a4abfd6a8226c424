"""Answers what is asked about responses that are kept: ``/v1/responses/{id}`` and what is below it.

    GET     /v1/responses/{id}                the object
    DELETE  /v1/responses/{id}                {"id", "object": "response", "deleted": true}
    POST    /v1/responses/{id}/cancel         the object, cancelled if it had no end yet
    GET     /v1/responses/{id}/input_items    {"object": "list", "data", "first_id", "last_id", "has_more"}

Each takes the shelf and what the path and the query say, and returns the answer or raises the error that OpenAI's
service would give. How a request comes here is the router's business, what runs the caller's.

Source: OpenAI's API reference and Python SDK (3.57.0).
"""

from collections.abc import Mapping

import msgspec

from cortex.contract.error import CallerError, MalformedRequest, ResponseNotFound
from cortex.dialects.interface import Keep
from cortex.dialects.responses_record import UNFINISHED, Head, Record, input_items, read_record, with_status
from cortex.gateway.data.page import Answer
from cortex.gateway.data.response_owner import Running
from cortex.gateway.ports import ResponseShelf

STALE_S = 60.0
"""A record without an end that nobody has renewed for so long belongs to a gateway that is gone."""

DEFAULT_ITEMS, MOST_ITEMS = 20, 100

_GONE = {"code": "server_error", "message": "The gateway that ran this response is gone: create it again."}

_encode = msgspec.json.Encoder().encode


async def retrieve(shelf: ResponseShelf, running: Running, response_id: str, query: Mapping[str, str]) -> Answer:
    """Return a response. One without an end that nobody runs has failed.

    Raises: ResponseNotFound, StoreUnavailable, CallerError.
    """
    if query.get("stream") == "true":
        raise CallerError("A response that is kept is told of whole: leave out stream, and ask again.", param="stream")
    record, head = await _record(shelf, response_id, running)
    if head.status in UNFINISHED and not running.runs(response_id) and (await shelf.age_s(response_id) or 0) > STALE_S:
        record = with_status(record, "failed", _GONE)
        await shelf.put(Keep(id=response_id, record=_encode(record)))
    return Answer(200, bytes(record.response))


async def delete(shelf: ResponseShelf, running: Running, response_id: str) -> Answer:
    """Forget a response, and end it if it is still running. Raises: ResponseNotFound, StoreUnavailable."""
    was_running = running.runs(response_id)
    running.stop(response_id)
    if not await shelf.delete(response_id) and not was_running:
        raise _not_found(response_id)
    return Answer(200, _encode({"id": response_id, "object": "response", "deleted": True}))


async def cancel(shelf: ResponseShelf, running: Running, response_id: str) -> Answer:
    """Cancel a response in the background; one that has its end already is told of as it is.

    One that runs at another gateway ends when that one looks at the record next.
    Raises: ResponseNotFound, StoreUnavailable, CallerError.
    """
    record, head = await _record(shelf, response_id, running)
    if not head.background:
        raise CallerError("Cannot cancel a synchronous response: only one with background: true can be.")
    was_running = running.runs(response_id)
    running.stop(response_id)
    if head.status in UNFINISHED and not was_running:
        record, head = await _record(shelf, response_id)
    if head.status not in UNFINISHED:
        return Answer(200, bytes(record.response))
    cancelled = with_status(record, "cancelled")
    await shelf.put(Keep(id=response_id, record=_encode(cancelled)))
    return Answer(200, bytes(cancelled.response))


async def list_input_items(shelf: ResponseShelf, response_id: str, query: Mapping[str, str]) -> Answer:
    """List what led to a response, the newest first unless ``order=asc``, a page at a time (``after``, ``limit``).

    Raises: ResponseNotFound, StoreUnavailable, MalformedRequest.
    """
    limit, order = _limit(query.get("limit")), query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise MalformedRequest("order: expected asc or desc", param="order")
    items = input_items(*await _record(shelf, response_id))
    if order == "desc":
        items.reverse()
    after = query.get("after")
    if after:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise MalformedRequest(f"after: this response has no item {after!r}", param="after")
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    return Answer(
        200,
        _encode(
            {
                "object": "list",
                "data": page,
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
                "has_more": len(items) > limit,
            }
        ),
    )


async def _record(shelf: ResponseShelf, response_id: str, running: Running | None = None) -> tuple[Record, Head]:
    found = await shelf.get(response_id)
    if found is None and running is not None:
        found = running.record(response_id)
    if found is None:
        raise _not_found(response_id)
    return read_record(found)


def _not_found(response_id: str) -> ResponseNotFound:
    return ResponseNotFound(
        f"Response with id '{response_id[:100]}' not found. It was not stored, or is not kept any more."
    )


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_ITEMS
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MOST_ITEMS):
        raise MalformedRequest(f"limit: expected a number from 1 to {MOST_ITEMS}", param="limit")
    return int(text)

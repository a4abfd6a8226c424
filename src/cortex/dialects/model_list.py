"""``GET /v1/models`` and ``/v1/models/{id}``: one body that parses in the OpenAI and in the Anthropic SDK.

Source: both SDKs' response models, run 2026-10: neither validates unknown fields, Anthropic pages with ``limit``,
``after_id`` and ``before_id`` and stops at ``has_more: false``, OpenAI never pages.
"""

from collections.abc import Mapping, Sequence

from cortex.contract.error import MalformedRequest

Entry = Mapping[str, object]

MAX_LIMIT = 1000
"""As Anthropic's own service has it."""


def model_object(entry: Entry, *, created_s: int, created_at: str) -> dict[str, object]:
    """One model. ``entry`` is one of ``FleetReads.model_entries``; ``created_at`` is ``created_s`` as RFC 3339.

    Its ``capabilities`` are called ``features`` here: under that name Anthropic's SDK expects an object of its own.
    """
    return {
        "id": entry["id"],
        "object": "model",
        "type": "model",
        "created": created_s,
        "created_at": created_at,
        "owned_by": "cortex",
        "display_name": entry["id"],
        "lifecycle": "active",
        "max_input_tokens": entry["context"],
        "max_tokens": entry["context"],
        "features": entry["capabilities"],
        **{key: value for key, value in entry.items() if key not in ("id", "capabilities")},
    }


def model_page(objects: Sequence[dict[str, object]], query: Mapping[str, str]) -> dict[str, object]:
    """The list as the caller asked for it; without paging parameters all of it.

    Raises: MalformedRequest for a ``limit`` that is no number from 1 to 1000.
    """
    shown = list(objects)
    ids = [entry["id"] for entry in shown]
    has_more = False
    if query.get("after_id") in ids:
        shown = shown[ids.index(query["after_id"]) + 1 :]
    if query.get("before_id") in ids:
        shown = shown[: max(0, len(shown) - len(ids) + ids.index(query["before_id"]))]
    limit = _limit(query)
    if limit is not None and len(shown) > limit:
        # Going backwards, the page is the part next to ``before_id``.
        shown = shown[-limit:] if "before_id" in query and "after_id" not in query else shown[:limit]
        has_more = True
    return {
        "object": "list",
        "data": shown,
        "has_more": has_more,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _limit(query: Mapping[str, str]) -> int | None:
    text = query.get("limit")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_LIMIT):
        raise MalformedRequest(f'"limit" must be a number from 1 to {MAX_LIMIT}, not "{text}".', param="limit")
    return int(text)

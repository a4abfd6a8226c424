"""The requests: those that run, the oldest first, and those that are over, the newest first; and one of them closely.

Narrowed down by what the URL asks. Changes nothing; no prompt and no answer is ever shown.
"""

from typing import NamedTuple, get_args

from cortex.contract.activity import ActivityPage, ActivityQuery, FinishedRequest, RequestOutcome, RunningRequest
from cortex.contract.error import CallerError, MalformedRequest
from cortex.gateway.admin.dashboard.page import Call, Desk, Filling, Query, Reply

LIMITS = (50, 200, 1000)
OUTCOMES: tuple[RequestOutcome, ...] = get_args(RequestOutcome)
OUTCOME_WORDS: dict[RequestOutcome, str] = {
    "ok": "ok",
    "engine_error": "engine error",
    "failed": "failed",
    "refused": "refused",
    "client_gone": "client gone",
}
OUTCOME_PILLS = {"ok": "ok", "engine_error": "bad", "failed": "bad", "refused": "warn", "client_gone": "gone"}
STATE_PILLS = {"waiting": "waits", "loading": "loading", "sent": "sent", "streaming": "ok"}
MAX_NAME_CHARS = 1024
NOTHING = ActivityPage(running=(), running_count=0, finished=(), newest=0, next=0, gap=False)


class FinishedRow(NamedTuple):
    """One request that is over, with its outcome in a word and a colour."""

    entry: FinishedRequest
    word: str
    pill: str


async def look_at_activity(desk: Desk, query: Query) -> Filling:
    """Return what the page is filled with: ``model``, ``node``, ``key``, ``outcome`` narrow it down."""
    view = desk.fleet.view()
    asked = {name: query.get(name, "").strip()[:MAX_NAME_CHARS] for name in ("model", "node", "key")}
    outcome = next((outcome for outcome in OUTCOMES if outcome == query.get("outcome")), None)
    limit = next((limit for limit in LIMITS if str(limit) == query.get("limit")), LIMITS[0])
    model, node, key = (asked[name] or None for name in ("model", "node", "key"))
    wanted = ActivityQuery(limit=limit, outcome=outcome, model=model, node=node, key=key)
    trouble, page = "", NOTHING
    try:
        page = desk.insight.activity(wanted)
    except CallerError as error:
        trouble = error.message
    newest_first = reversed(page.finished)
    return {
        "activity": page,
        "finished": [FinishedRow(one, OUTCOME_WORDS[one.outcome], OUTCOME_PILLS[one.outcome]) for one in newest_first],
        "trouble": trouble,
        "outcome": outcome or "",
        "outcomes": OUTCOMES,
        "models": [model.id for model in view.models],
        "nodes": [node.name for node in view.nodes],
        "limits": LIMITS,
        "limit": limit,
        **asked,
        **_words(),
    }


async def show_request(desk: Desk, call: Call) -> Reply:
    """Show all that is known of one request: ``number`` of one that is over, ``id`` of one that runs.

    Raises: MalformedRequest for one that is not known any more.
    """
    found = _over(desk, call.query.get("number", "")) or _running(desk, call.query.get("id", ""))
    if found is None:
        raise MalformedRequest("This request is not kept any more: only the last ones are.", param="number")
    is_over = isinstance(found, FinishedRequest)
    return Reply("activity_sheet.html", {"one": found, "is_over": is_over, **_words()})


def _over(desk: Desk, number: str) -> FinishedRequest | None:
    if not (number.isascii() and number.isdigit() and 0 < len(number) < 16 and int(number)):
        return None
    page = desk.insight.activity(ActivityQuery(since=int(number) - 1, limit=1, running=False))
    return next((one for one in page.finished if one.number == int(number)), None)


def _running(desk: Desk, request_id: str) -> RunningRequest | FinishedRequest | None:
    """Return a request by its id; one that has ended meanwhile, too."""
    page = desk.insight.activity(ActivityQuery(limit=1000))
    running = (one for one in page.running if one.request_id == request_id)
    return next(running, None) or next((one for one in reversed(page.finished) if one.request_id == request_id), None)


def _words() -> Filling:
    return {"outcome_words": OUTCOME_WORDS, "outcome_pills": OUTCOME_PILLS, "state_pills": STATE_PILLS}

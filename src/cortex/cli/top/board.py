"""What ``cortex top`` knows of a fleet: a value that each answer of the gateway turns into the next one. Pure."""

import msgspec

from cortex.contract.activity import ActivityPage, FinishedRequest, RunningRequest
from cortex.contract.admin import DecisionEntry, InstanceEntry, NodeEntry

KEPT = 300
"""Requests that are over, and decisions: so many of each."""
LATELY_S = 60.0
"""Tokens per second are those of requests that ended in so many seconds."""


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """``skew_s``: how far the gateway's clock is before ours. ``trouble``: why it does not answer, since when."""

    url: str
    now_epoch_s: float = 0.0
    skew_s: float = 0.0
    is_known: bool = False
    """The gateway has told of its nodes at least once."""
    nodes: tuple[NodeEntry, ...] = ()
    instances: tuple[InstanceEntry, ...] = ()
    running: tuple[RunningRequest, ...] = ()
    running_count: int = 0
    finished: tuple[FinishedRequest, ...] = ()
    """The newest first."""
    decisions: tuple[DecisionEntry, ...] = ()
    """The newest first."""
    trouble: str = ""
    trouble_epoch_s: float = 0.0


def with_activity(board: Board, page: ActivityPage, epoch_s: float) -> Board:
    """Take in what runs and what is over since the last time; after a gap, or in another process's numbers, anew."""
    newer = tuple(reversed(page.finished))
    is_new_run = bool(board.finished) and page.newest < board.finished[0].number
    known = () if is_new_run else board.finished
    last = known[0].number if known else -1
    finished = (*(one for one in newer if one.number > last), *known)[:KEPT]
    skews = [one.started_epoch_s + one.for_s - epoch_s for one in page.running[:1]]
    return msgspec.structs.replace(
        board,
        running=page.running,
        running_count=page.running_count,
        finished=finished,
        skew_s=skews[0] if skews else board.skew_s,
    )


def with_decisions(board: Board, decisions: tuple[DecisionEntry, ...]) -> Board:
    """Take in decisions, oldest first; of one that stands for more than before, only the newer."""
    known = {one.number for one in decisions}
    rest = tuple(one for one in board.decisions if one.number not in known)
    return msgspec.structs.replace(board, decisions=(*reversed(decisions), *rest)[:KEPT])


def with_trouble(board: Board, why: str, epoch_s: float) -> Board:
    """Say that the gateway does not answer; since when stays as it was first seen."""
    since = board.trouble_epoch_s if board.trouble else epoch_s
    return msgspec.structs.replace(board, trouble=why, trouble_epoch_s=since)


def without_trouble(board: Board) -> Board:
    """Say that it answers."""
    return msgspec.structs.replace(board, trouble="", trouble_epoch_s=0.0) if board.trouble else board


def tokens_per_s(board: Board) -> dict[tuple[str, str], float]:
    """Return how many tokens a second each (model, node) has generated lately, by the requests that are over."""
    found: dict[tuple[str, str], float] = {}
    for one in board.finished:
        if board.now_epoch_s + board.skew_s - one.ended_epoch_s > LATELY_S:
            break
        if one.completion_tokens:
            key = (one.model, one.node)
            found[key] = found.get(key, 0.0) + one.completion_tokens / LATELY_S
    return found


def waiting_by_model(board: Board) -> dict[str, int]:
    """Return how many requests of each model have no place yet."""
    found: dict[str, int] = {}
    for one in board.running:
        if one.state in ("waiting", "loading"):
            found[one.model] = found.get(one.model, 0) + 1
    return found


def state_of(board: Board) -> str:
    """Return ``ok``, ``degraded`` or ``down``, as ``cortex status`` says it."""
    healthy = sum(node.healthy for node in board.nodes)
    return "down" if not healthy else "ok" if healthy == len(board.nodes) else "degraded"

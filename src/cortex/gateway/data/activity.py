"""The requests of one gateway that run now, and the last that are over: implements ``ports.ActivityLog``.

A finished request costs one append to a ring; whatever is shown of it is made when somebody looks.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

import msgspec

from cortex.contract.activity import ActivityQuery, Cause, FinishedRequest, RunningRequest
from cortex.fleet.cause import Causes
from cortex.fleet.outlook import Outlook, in_words
from cortex.gateway.data.plane import Sweepable
from cortex.gateway.data.record import RequestRecord
from cortex.gateway.ports import FinishedPart, Leases

KEPT = 2000
"""About 2 MiB."""

_BEING_LOADED = frozenset(("loading", "making_room", "starting"))


class Activity:
    """Takes records. ``running``: the requests that are not over, and where they wait.

    ``settle``: have come in what is on its way here.
    """

    def __init__(
        self,
        causes: Causes,
        running: Callable[[], Iterable[Sweepable]],
        leases: Leases,
        *,
        kept: int = KEPT,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self._settle = settle
        self._causes = causes
        self._running = running
        self._leases = leases
        self._kept: deque[tuple[RequestRecord, Cause | None]] = deque(maxlen=kept)
        self._newest = 0

    def record(self, record: RequestRecord) -> None:
        """Note one request that is over."""
        self._newest += 1
        cause = None
        if record.cold_start:
            cause = self._causes.of_load(record.model, record.node)
        elif record.outcome == "refused" and record.model:
            cause = self._causes.last(record.model)
        self._kept.append((record, cause))

    def running(self, query: ActivityQuery) -> tuple[tuple[RunningRequest, ...], int]:
        """See ``ports.ActivityLog``."""
        looks = [self._named(*call.look()) for call in self._running()]
        wanted = [look for look in looks if _is_running_wanted(look[0], query)]
        wanted.sort(key=lambda look: -look[0].for_s)
        outlooks: dict[str, Outlook | None] = {}
        found = []
        for seen, ticket in wanted[: query.limit]:
            if seen.state == "waiting":
                if seen.model not in outlooks:  # of one model all wait for the same
                    outlooks[seen.model] = None if ticket is None else self._leases.outlook(ticket)
                found.append(_waiting(seen, outlooks[seen.model], self._causes.last(seen.model)))
            elif seen.cold_start:
                found.append(msgspec.structs.replace(seen, why=self._causes.of_load(seen.model, seen.node)))
            else:
                found.append(seen)
        return tuple(found), len(wanted)

    def finished(self, query: ActivityQuery) -> FinishedPart:
        """See ``ports.ActivityLog``."""
        self._settle()
        oldest, since = self._newest - len(self._kept) + 1, query.since
        is_foreign = since is not None and since > self._newest
        after = 0 if since is None or is_foreign else since
        start = max(0, after + 1 - oldest)
        numbered = zip(range(oldest + start, self._newest + 1), islice(self._kept, start, None), strict=True)
        wanted = [one for one in numbered if _is_wanted(one[1][0], query)]
        page = wanted[: query.limit] if since is not None else wanted[-query.limit :]
        is_cut = since is not None and len(page) < len(wanted)
        return FinishedPart(
            requests=tuple(_finished(number, *kept) for number, kept in page),
            newest=self._newest,
            next=page[-1][0] if is_cut else self._newest,
            is_gap=since is not None and (is_foreign or after + 1 < oldest),
        )

    def _named(self, seen: RunningRequest, ticket: int | None) -> tuple[RunningRequest, int | None]:
        """Give a running request the id of its model, where it has only what it asked for."""
        names = () if seen.node else self._leases.names_of(seen.model)
        if names and names[0] != seen.model:
            seen = msgspec.structs.replace(seen, model=names[0])
        return seen, ticket


def _waiting(seen: RunningRequest, outlook: Outlook | None, cause: Cause | None) -> RunningRequest:
    if outlook is None:
        return msgspec.structs.replace(seen, why=cause)
    is_loading = outlook.state in _BEING_LOADED
    tells_why = is_loading or (cause is not None and cause.kind != "placement")
    return msgspec.structs.replace(
        seen,
        state="loading" if is_loading else "waiting",
        node=outlook.node,
        outlook=in_words(msgspec.structs.replace(outlook, position=None)),
        why=cause if tells_why else None,
    )


def _is_running_wanted(seen: RunningRequest, query: ActivityQuery) -> bool:
    return (
        query.outcome is None
        and (query.model is None or seen.model == query.model)
        and (query.node is None or seen.node == query.node)
        and (query.key is None or query.key in (seen.key, seen.caller))
    )


def _is_wanted(record: RequestRecord, query: ActivityQuery) -> bool:
    return (
        (query.model is None or record.model == query.model)
        and (query.node is None or record.node == query.node)
        and (query.outcome is None or record.outcome == query.outcome)
        and (query.key is None or query.key in (record.key, record.key_id or record.peer))
    )


def _finished(number: int, record: RequestRecord, cause: Cause | None) -> FinishedRequest:
    first_ms, speed = record.time_to_first_token_ms, record.tok_per_sec
    duration_s = record.total_latency_ms * 1e-3
    return FinishedRequest(
        number=number,
        request_id=record.request_id,
        operation=record.path,
        model=record.model,
        node=record.node,
        caller=record.key_id or record.peer,
        key=record.key,
        ended_epoch_s=round(record.started_s + duration_s, 3),
        duration_s=round(duration_s, 4),
        stream=record.is_stream,
        status=record.status,
        outcome=record.outcome,
        attempts=record.attempts,
        lost=record.lost,
        cold_start=record.cold_start,
        first_token_s=None if first_ms is None else round(first_ms * 1e-3, 4),
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        tokens_per_s=None if speed is None else round(speed, 2),
        error=record.error,
        why=cause,
    )

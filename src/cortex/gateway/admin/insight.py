"""What operators look at beside the fleet itself: requests, figures over time, logs of engines. For API and dashboard.

Asks the planes that know; turns names into ids, and what was found into pages and events.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec

from cortex.contract.activity import ActivityPage, ActivityQuery
from cortex.contract.engine_log import LogEnd, LogLines, LogQuery, LogTail
from cortex.contract.error import CortexError, ModelNotFound
from cortex.contract.history import History, HistoryQuery
from cortex.fleet.resolve import describe_unknown
from cortex.gateway.admin.history import Historian
from cortex.gateway.admin.name import model_table
from cortex.gateway.ports import ActivityLog, EngineLogs, FleetAdmin
from cortex.kit.event_stream import HEARTBEAT, message

ENDED = "The engine was unloaded, or has failed."


class Insight:
    """Answers. Raises what the planes raise, and ModelNotFound for a name that is no model's."""

    def __init__(self, fleet: FleetAdmin, activity: ActivityLog, history: Historian, logs: EngineLogs) -> None:
        self._fleet = fleet
        self._activity = activity
        self._history = history
        self._logs = logs

    def activity(self, query: ActivityQuery) -> ActivityPage:
        """Return requests that run and that are over."""
        if query.model is not None:
            query = msgspec.structs.replace(query, model=self._id_of(query.model))
        part = self._activity.finished(query)
        running, count = self._activity.running(query) if query.running else ((), 0)
        return ActivityPage(
            running=running,
            running_count=count,
            finished=part.requests,
            newest=part.newest,
            next=part.next,
            gap=part.is_gap,
        )

    def history(self, query: HistoryQuery) -> History:
        """Return figures over time. Raises: MalformedRequest, NodeNotFound."""
        return self._history.tell(query)

    async def log_tail(self, model: str, node: str, query: LogQuery) -> LogTail:
        """Return the last lines of an engine's log."""
        return LogTail(model=model, node=node, lines=await self._logs.tail(model, node, query.lines))

    def log_events(self, model: str, node: str, query: LogQuery) -> AsyncIterator[bytes]:
        """Return them and further ones as server-sent events, which end with the engine or with what went wrong."""
        return _events(self._logs.follow(model, node, query.lines))

    def _id_of(self, name: str) -> str:
        """Return a model's id. Raises: ModelNotFound."""
        table = model_table(self._fleet.view())
        if name not in table:
            raise ModelNotFound(describe_unknown(name, table), model=name)
        return table[name]


async def _events(log: AsyncGenerator[tuple[str, ...]]) -> AsyncIterator[bytes]:
    try:
        async with aclosing(log):
            async for lines in log:
                yield message("lines", LogLines(lines=lines)) if lines else HEARTBEAT
    except CortexError as error:
        yield message("end", LogEnd(code=error.code, reason=error.message))
    else:
        yield message("end", LogEnd(code="", reason=ENDED))

"""What a gateway knows of its requests and of its last hours, put together: recorders here, what shows them there."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cortex.fleet.cause import Causes
from cortex.gateway.admin.history import Historian
from cortex.gateway.admin.insight import Insight
from cortex.gateway.control.assembly import Control
from cortex.gateway.data.activity import Activity
from cortex.gateway.data.plane import Sweepable
from cortex.gateway.data.tally import Traffic
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

if TYPE_CHECKING:
    from cortex.gateway.data.record import Recorder


class GatewayActivity:
    """``recorders`` for the data plane, ``insight`` for operators. ``running``: the requests that are not over."""

    def __init__(
        self,
        control: Control,
        clock: Clock,
        running: Callable[[], Iterable[Sweepable]],
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """``settle``: have what is on its way to ``recorders`` come in; called before it is read."""
        causes, traffic = Causes(), Traffic(settle)
        control.dispatcher.decisions.watch(causes.note)
        activity = Activity(causes, running, control.leases, settle=settle)
        self._logs = control.logs
        self.historian = Historian(control.admin, traffic, clock)
        self.recorders: tuple[Recorder, ...] = (activity, traffic)
        self.insight = Insight(control.admin, activity, self.historian, control.logs)

    def start(self, tasks: TaskOwner) -> None:
        """Begin to look."""
        tasks.start(self.historian.run(), "history")

    def close(self) -> None:
        """End the logs that are followed."""
        self._logs.close()

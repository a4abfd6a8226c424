"""Background tasks that are kept, named, logged when they crash, and ended by their owner.

``asyncio`` keeps only weak references to tasks and tells of a crash when the garbage collector comes by; therefore no
other file makes a task. An owner belongs to one event loop and to the object whose life its tasks share.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class TaskOwner:
    """Starts tasks and ends every one of them on :meth:`stop`.

    ``on_crash`` hears of each task that ended with an exception, after it was logged: an owner whose tasks must
    live as long as the process passes its own shutdown there.
    """

    def __init__(self, on_crash: Callable[[str, BaseException], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_crash = on_crash
        self._is_stopped = False

    def __len__(self) -> int:
        """Return how many tasks are running."""
        return len(self._tasks)

    def start(self, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run ``coro`` as a task; whoever awaits the result gets its exception too.

        Raises: RuntimeError once the owner was stopped.
        """
        if self._is_stopped:
            coro.close()
            raise RuntimeError(f"task '{name}' started after its owner was stopped")
        task = asyncio.create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def over(self) -> None:
        """Return when no task is running, the calling one left out."""
        while mine := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(mine)

    async def stop(self, grace_s: float = 10.0) -> None:
        """Cancel every task and wait until all have ended, those included that they start meanwhile.

        A task that has not ended ``grace_s`` after its cancellation is named in the log and left alone.
        """
        while mine := self._tasks - {asyncio.current_task()}:
            for task in mine:
                task.cancel()
            _, stuck = await asyncio.wait(mine, timeout=grace_s)
            if stuck:
                log.error("tasks ignore their cancellation: %s", ", ".join(sorted(task.get_name() for task in stuck)))
                break
        self._is_stopped = True

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        crash = task.exception()
        if crash is None:
            return
        log.error("task '%s' crashed: %s", task.get_name(), repr(crash), exc_info=crash)
        if self._on_crash is not None:
            self._on_crash(task.get_name(), crash)

"""Waits for the first of several things, and calls the others off."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from cortex.kit.task import TaskOwner


async def first_of(owner: TaskOwner, **waits: Coroutine[Any, Any, Any]) -> tuple[str, Any]:
    """Return the name and result of the first of ``waits`` to end; the rest are cancelled and have ended.

    Of several that ended at once the one named first counts. What the first raises comes through.
    """
    tasks = {name: owner.start(wait, name) for name, wait in waits.items()}
    try:
        await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        name = next(name for name, task in tasks.items() if task.done())
        return name, tasks[name].result()
    finally:
        left = [task for task in tasks.values() if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

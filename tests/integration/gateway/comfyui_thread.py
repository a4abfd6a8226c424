"""A fake ComfyUI on a loop of its own in a thread, so that synchronous SDKs can be used beside it."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from tests.integration.gateway.raw_client import LIMIT_S

from cortex.testing.fake_comfyui import FakeComfyUi


class ComfyUiThread:
    """The fake, and the loop that it lives on."""

    def __init__(self, fake: FakeComfyUi, loop: asyncio.AbstractEventLoop) -> None:
        self.fake = fake
        self._loop = loop

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run something where the fake lives."""
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(LIMIT_S)

    def gate(self, *, is_open: bool) -> None:
        """Let workflows end, or not."""

        async def move() -> None:
            (self.fake.gate.set if is_open else self.fake.gate.clear)()

        self.run(move)


@contextlib.contextmanager
def comfyui(**how: Any) -> Iterator[ComfyUiThread]:
    """Run a fake ComfyUI; it is gone when the block ends."""
    up: concurrent.futures.Future[ComfyUiThread] = concurrent.futures.Future()
    leave = threading.Event()

    async def live() -> None:
        loop = asyncio.get_running_loop()
        try:
            async with FakeComfyUi(**how) as fake:
                up.set_result(ComfyUiThread(fake, loop))
                await loop.run_in_executor(None, leave.wait)
        except BaseException as error:
            if not up.done():
                up.set_exception(error)
            raise

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        yield up.result(LIMIT_S)
    finally:
        leave.set()
        thread.join(LIMIT_S)

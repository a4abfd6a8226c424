"""What fakes that are HTTP servers share: they listen on loopback, go, and come back on the same port."""

import abc
from types import TracebackType
from typing import Self

from aiohttp import web


class LoopbackServer(abc.ABC):
    """A server that is there within ``async with``, or between ``start`` and ``stop``. ``port`` 0: any free one."""

    def __init__(self, port: int = 0) -> None:
        self._runner: web.AppRunner | None = None
        self._port = port

    @property
    def url(self) -> str:
        """Base URL; the port stays the same over :meth:`stop` and :meth:`start`."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @abc.abstractmethod
    async def start(self) -> None:
        """Listen, on the port of the last time if there was one."""

    async def stop(self) -> None:
        """Be gone: connections are refused. A second stop changes nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _listen(self, app: web.Application, *, handler_cancellation: bool = False) -> None:
        self._runner = web.AppRunner(app, handler_cancellation=handler_cancellation, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]

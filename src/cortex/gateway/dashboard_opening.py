"""The dashboard, put together when somebody first asks for it: a gateway that nobody looks at pays nothing for it."""

import asyncio
from typing import TYPE_CHECKING

from cortex import __version__
from cortex.gateway.ports import AsgiApp, FleetAdmin, KeyBook, Keys, Message, Players, Receive, Send, Usage
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cortex.contract.key import Key
    from cortex.gateway.admin.dashboard.live import Live
    from cortex.gateway.admin.dashboard.session import Sessions
    from cortex.gateway.admin.insight import Insight


class GatewayDashboard:
    """The dashboard as an ASGI application."""

    def __init__(
        self,
        fleet: FleetAdmin,
        clock: Clock,
        tasks: TaskOwner,
        insight: "Insight",
        *,
        gateway_id: str,
        book: KeyBook | None = None,
        sessions: "Sessions | None" = None,
        keys: Keys | None = None,
        usage: Usage | None = None,
    ) -> None:
        self._live: Live | None = None
        self._app: AsgiApp | None = None
        self._players: Players | None = None
        self._making = asyncio.Lock()

        def make() -> tuple[AsgiApp, Players]:
            from cortex.gateway.admin.dashboard.app import Dashboard
            from cortex.gateway.admin.dashboard.live import Live
            from cortex.gateway.admin.dashboard.page import Desk
            from cortex.gateway.admin.dashboard.playground_door import PlaygroundDoor
            from cortex.gateway.admin.dashboard.sign_in import SignIn

            self._live = Live(tasks)
            desk = Desk(fleet=fleet, clock=clock, insight=insight, keys=keys, usage=usage)
            title = f"cortex {__version__} · gateway {gateway_id}"
            sign_in = SignIn(book, sessions, clock)
            return Dashboard(desk, sign_in, self._live, title), PlaygroundDoor(sign_in)

        self._make: Callable[[], tuple[AsgiApp, Players]] = make

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        async with self._making:
            if self._app is None:  # in a thread: it takes a fifth of a second, for which no stream should stand still
                await asyncio.to_thread(self._made)
        app, _ = self._made()
        await app(scope, receive, send)

    def admit(self, headers: "Sequence[tuple[bytes, bytes]]") -> "Key | None":
        """See ``ports.Players``."""
        _, players = self._made()
        return players.admit(headers)

    def _made(self) -> tuple[AsgiApp, Players]:
        if self._app is None or self._players is None:
            app, self._players = self._make()
            self._app = app
        return self._app, self._players

    def close(self) -> None:
        """End every stream."""
        if self._live is not None:
            self._live.close()

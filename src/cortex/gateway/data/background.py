"""Responses in the background: the client is answered at once, the request runs on, and its end is kept.

The call is the same as any; only nobody listens to its answer. What is running here can be stopped by its id.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from cortex.dialects.responses import ResponsesTranslation
from cortex.gateway.data.call import Call
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.refusal import reply_own

if TYPE_CHECKING:
    from cortex.gateway.data.outgoing import Outgoing
    from cortex.gateway.data.plane import Plane
    from cortex.gateway.data.route import InferenceRoute


class BackgroundCalls:
    """Those of one gateway."""

    def __init__(self) -> None:
        self._running: dict[str, Call] = {}

    def begin(
        self,
        plane: "Plane",
        exchange: Exchange,
        route: "InferenceRoute",
        outgoing: "Outgoing",
        translation: ResponsesTranslation,
        arrived_s: float,
    ) -> None:
        """Answer the client, and let the request run."""
        plane.keep(translation.waiting_keep("queued"))
        nobody = Nobody(exchange.client, lambda: self._running.pop(translation.id, None))
        unheard = Exchange(nobody, b"POST", exchange.path, b"", exchange.headers)  # type: ignore[arg-type]
        unheard.is_received = True
        call = Call(plane, unheard, route, outgoing, arrived_s)
        self._running[translation.id] = unheard.handler = call
        reply_own(plane, exchange, route, outgoing.model, translation.waiting_body("queued"), arrived_s)
        call.start()

    def stop(self, response_id: str) -> None:
        """End one that runs here; nothing is kept of it."""
        call = self._running.pop(response_id, None)
        if call is not None:
            call.on_gone()


class Nobody:
    """Stands where a client's connection would be, and lets everything fall."""

    def __init__(self, peer: str, ended: Callable[[], object]) -> None:
        self.peer = peer
        self.transport = self
        self._ended = ended

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    def exchange_ended(self, exchange: Exchange) -> None:
        """The answer is complete."""
        exchange.handler = None
        self._ended()

    def abort(self) -> None:
        """The answer broke off."""
        self._ended()

    def pause_reading(self) -> None:
        """There is nothing to read."""

    def resume_reading(self) -> None:
        """There is nothing to read."""

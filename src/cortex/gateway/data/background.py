"""Responses in the background: the client is answered at once, the request runs on, and its end is kept.

The call is the same as any; only nobody listens to its answer. Whatever gateway is asked, the record is what counts:
the one that runs a response looks at its record now and then, stops when it was cancelled or deleted elsewhere, and
renews it, so that others can tell when nobody runs it any more.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from cortex.contract.error import StoreUnavailable
from cortex.dialects.interface import Keep
from cortex.dialects.responses import ResponsesTranslation
from cortex.dialects.responses_record import is_unfinished
from cortex.gateway.data.call import Call
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.refusal import reply_own
from cortex.gateway.data.response_owner import owned
from cortex.gateway.data.response_shelf import ResponseKeeper
from cortex.kit.task import TaskOwner

if TYPE_CHECKING:
    from cortex.gateway.data.outgoing import Outgoing
    from cortex.gateway.data.plane import Plane
    from cortex.gateway.data.route import InferenceRoute

LOOK_S = 2.0
RENEW_LOOKS = 8
"""A record is renewed with every so many looks."""

log = logging.getLogger(__name__)


class BackgroundCalls:
    """Those of one gateway, each under the name that its record has on the shelf (``response_owner``)."""

    def __init__(self, keeper: ResponseKeeper, tasks: TaskOwner, *, look_s: float = LOOK_S) -> None:
        self._keeper = keeper
        self._tasks = tasks
        self._look_s = look_s
        self._running: dict[str, tuple[Call, ResponsesTranslation]] = {}
        self._is_watching = False
        self._none_left = asyncio.Event()

    def __len__(self) -> int:
        """Return how many are running."""
        return len(self._running)

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
        kept = owned(translation.waiting_keep("queued"), exchange.key)
        self._keeper.keep(kept)
        is_tls = bool(exchange.connection.transport.get_extra_info("ssl_object"))
        nobody = Nobody(exchange.client, is_tls=is_tls)
        unheard = Exchange(nobody, b"POST", exchange.path, b"", exchange.headers)  # type: ignore[arg-type]
        unheard.is_received, unheard.key = True, exchange.key
        unheard.admission, exchange.admission = exchange.admission, None
        unheard.received_bytes = exchange.received_bytes
        call = Call(plane, unheard, route, outgoing, arrived_s, is_patient=True)
        self._running[kept.id] = (call, translation)
        self._none_left.clear()
        if not self._is_watching:
            self._is_watching = True
            self._tasks.start(self._watch(), "watch responses in the background")
        reply_own(plane, exchange, route, outgoing.model, translation.waiting_body("queued"), arrived_s)
        call.start()

    def runs(self, response_id: str) -> bool:
        """Tell whether a response is running here."""
        return response_id in self._running

    def keep(self, kept: Keep) -> None:
        """Keep what is to be kept of a request that is over; of one in the background, unless it was stopped."""
        if kept.id in self._running and self._keeper.is_shared:
            self._forget(kept.id)
            self._tasks.start(self._keep_unless_stopped(kept), "keep a response in the background")
        else:  # what is not shared is ended only here, and then it is not running any more
            if kept.id in self._running:
                self._forget(kept.id)
            self._keeper.keep(kept)

    def record(self, response_id: str) -> bytes | None:
        """Return the record of a response that runs here, though its shelf had no room for it; None for any other."""
        running = self._running.get(response_id)
        return _record(*running) if running is not None else None

    def stop(self, response_id: str) -> None:
        """End one that runs here; nothing is kept of it."""
        running = self._running.get(response_id)
        if running is not None:
            self._forget(response_id)
            running[0].on_gone()

    async def finish(self, grace_s: float) -> None:
        """Wait until none is running, no longer than ``grace_s``."""
        if self._running:
            try:
                async with asyncio.timeout(grace_s):
                    await self._none_left.wait()
            except TimeoutError:
                log.info("responses in the background are cut off: %d", len(self._running))

    def _forget(self, response_id: str) -> None:
        del self._running[response_id]
        if not self._running:
            self._none_left.set()

    async def _keep_unless_stopped(self, kept: Keep) -> None:
        try:
            record = await self._keeper.get(kept.id)
        except StoreUnavailable:
            record = None
        if record is not None and is_unfinished(record):
            self._keeper.keep(kept)

    async def _watch(self) -> None:
        try:
            looks = 0
            while self._running:
                await asyncio.sleep(self._look_s)
                looks += 1
                for response_id, (call, translation) in list(self._running.items()):
                    await self._look(response_id, call, translation, is_renewing=looks % RENEW_LOOKS == 0)
        finally:
            self._is_watching = False

    async def _look(
        self, response_id: str, call: Call, translation: ResponsesTranslation, *, is_renewing: bool
    ) -> None:
        try:
            record = await self._keeper.get(response_id)
        except StoreUnavailable:
            return
        if not self.runs(response_id):
            return
        if record is None and not self._keeper.is_shared:
            return  # it fell off the shelf; who asks for it is told all the same
        if record is None or not is_unfinished(record):
            self.stop(response_id)
        elif is_renewing or (call.is_sent and b'"queued"' in record):
            self._keeper.keep(Keep(id=response_id, record=_record(call, translation)))


def _record(call: Call, translation: ResponsesTranslation) -> bytes:
    return translation.waiting_keep("in_progress" if call.is_sent else "queued").record


class Silence:
    """Where nobody's answer is written to. ``is_tls``: the request came through TLS."""

    def __init__(self, *, is_tls: bool) -> None:
        self._is_tls = is_tls

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    def get_extra_info(self, name: str) -> bool | None:
        return (self._is_tls or None) if name == "ssl_object" else None


class Nobody:
    """Stands where a client's connection would be, and lets everything fall.

    It knows nothing of the call, nor does the exchange: what hangs in a circle is given back only by the collector,
    which comes seldom, and a request may be large.
    """

    def __init__(self, peer: str, *, is_tls: bool) -> None:
        self.peer = peer
        self.transport = Silence(is_tls=is_tls)

    def exchange_ended(self, exchange: Exchange) -> None:
        """The answer is complete."""

    def abort(self) -> None:
        """The answer broke off."""

    def pause_reading(self) -> None:
        """There is nothing to read."""

    def resume_reading(self) -> None:
        """There is nothing to read."""

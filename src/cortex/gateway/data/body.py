"""Takes in a JSON request until it is whole, then makes it a call. Of what engines take as it is, it reads the
head's few fields and no more; the rest is translated.

A body over the limit is refused as soon as that is known: by its declared length before a byte of it is sent.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from cortex.contract.error import BuffersFull, CallerError, CortexError
from cortex.dialects.interface import Translation
from cortex.dialects.openai_request import read_head
from cortex.dialects.responses import ResponsesTranslation
from cortex.gateway.data.body_room import BodyShare
from cortex.gateway.data.call import Call
from cortex.gateway.data.framing import too_large
from cortex.gateway.data.key_door import check_model
from cortex.gateway.data.limit_gate import is_free, pass_limits
from cortex.gateway.data.outgoing import HeldBody, Outgoing, TranslatedBody
from cortex.gateway.data.preparation import Preparation
from cortex.gateway.data.refusal import refuse, reply_own

if TYPE_CHECKING:
    from cortex.gateway.data.background import BackgroundCalls
    from cortex.gateway.data.exchange import Exchange
    from cortex.gateway.data.plane import Plane
    from cortex.gateway.data.route import InferenceRoute


MAX_SMALL_PIECES = 1024
"""So many pieces are joined into one: a body in chunks of two bytes took 26 times its size (measured 2026-11)."""


class JsonBody:
    """One request whose body is still on its way. Implements Handler."""

    __slots__ = (
        "_arrived_s",
        "_background",
        "_exchange",
        "_joined",
        "_limit_bytes",
        "_pieces",
        "_plane",
        "_route",
        "_share",
        "_size_bytes",
    )

    def __init__(
        self, plane: "Plane", exchange: "Exchange", route: "InferenceRoute", background: "BackgroundCalls"
    ) -> None:
        self._background = background
        self._plane = plane
        self._exchange = exchange
        self._route = route
        self._arrived_s = plane.now_s()
        self._limit_bytes = plane.limit.max_body_bytes
        self._pieces: list[bytes] = []
        self._joined = 0
        """How many of them, from the first one on, are joined ones."""
        self._share: BodyShare | None = BodyShare(plane.bodies)
        self._size_bytes = 0

    def on_body(self, piece: bytes) -> None:
        self._size_bytes += len(piece)
        if self._size_bytes > self._limit_bytes:
            self._refuse(too_large(self._limit_bytes))
        elif self._share is not None and not self._share.grow(len(piece)):
            self._refuse(BuffersFull())
        else:
            self._pieces.append(piece)
            if len(self._pieces) - self._joined >= MAX_SMALL_PIECES:
                self._pieces[self._joined :] = [b"".join(self._pieces[self._joined :])]
                self._joined += 1

    def on_end(self) -> None:
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        share, self._share = self._share, None
        self._exchange.received_bytes = self._size_bytes
        self._exchange.received_s = self._plane.now_s()
        route = self._route
        translate = route.dialect.translate
        try:
            if translate is None:
                outgoing = HeldBody(body, read_head(body), counts_usage=route.counts_usage, share=share)
            else:
                outgoing = self._translated(body, translate(body, self._plane.mint()), share)
            check_model(self._exchange.key, outgoing.model, self._plane.leases.names_of)
        except CallerError as error:
            self._refuse(error)
            return
        if outgoing.translation is not None:
            self._take(outgoing, outgoing.translation, share)
        elif is_free(self._plane, self._exchange):
            self._start(outgoing)
        else:
            self._pass_limits(outgoing, lambda: self._start(outgoing))

    def _translated(self, body: bytes, translation: Translation, share: BodyShare | None) -> TranslatedBody:
        if translation.dropped:
            self._plane.note_dropped(translation.model, translation.dropped)
        model = self._plane.known(self._route.dialect.names(translation.model))
        return TranslatedBody(body, translation, model, share)

    def _take(self, outgoing: Outgoing, translation: Translation, share: BodyShare | None) -> None:
        """Go on with a request that is translated: it may need no engine, or something else before one."""
        if translation.answer is not None:
            reply_own(self._plane, self._exchange, self._route, outgoing.model, translation.answer, self._arrived_s)
        elif translation.needs:
            self._exchange.received_s = 0.0  # what is fetched first is no work of this gateway
            self._exchange.handler = Preparation(
                self._plane,
                self._exchange,
                translation,
                go_on=lambda: self._begin(outgoing, translation),
                refuse=self._refuse,
                share=share,
            )
        else:
            self._begin(outgoing, translation)

    def _begin(self, outgoing: Outgoing, translation: Translation) -> None:
        self._pass_limits(outgoing, lambda: self._begin_translated(outgoing, translation))

    def _pass_limits(self, outgoing: Outgoing, go_on: Callable[[], None]) -> None:
        pass_limits(self._plane, self._exchange, self._route, outgoing, go_on=go_on, refuse=self._refuse)

    def _begin_translated(self, outgoing: Outgoing, translation: Translation) -> None:
        if isinstance(translation, ResponsesTranslation) and translation.is_background:
            self._background.begin(self._plane, self._exchange, self._route, outgoing, translation, self._arrived_s)
        else:
            self._start(outgoing)

    def _start(self, outgoing: Outgoing) -> None:
        call = Call(self._plane, self._exchange, self._route, outgoing, self._arrived_s)
        self._exchange.handler = call
        call.start()

    def on_gone(self) -> None:
        self._pieces.clear()
        self._share = None

    def on_pause(self) -> None:
        """Nothing is being written."""

    def on_resume(self) -> None:
        """Nothing is being written."""

    def on_shutdown(self) -> None:
        self._exchange.abort()

    def _refuse(self, error: CortexError) -> None:
        self._pieces.clear()
        self._share = None
        refuse(self._plane, self._exchange, self._route, error, self._arrived_s)

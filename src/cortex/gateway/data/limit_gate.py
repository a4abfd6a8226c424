"""Where a request passes the limits of its key: when its model is known, before it asks for a place.

What counts: every request to an engine is one request, whatever becomes of it, and has a place until it is over. Tokens
are reserved as the prompt, by the length of its body, and the answer that the caller allows, and settled with what the
engine told. Embeddings, reranking, tokenizing, speech and pictures reserve no answer, uploads nothing at all. Lists,
counting tokens, and whatever the gateway answers by itself are free. A request without a key, or with one that has no
limits, is not looked at.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from cortex.contract.error import CallerError, CortexError, ShuttingDown
from cortex.contract.key import Key, KeyLimits
from cortex.fleet.quota_holding import Admission, Asked
from cortex.gateway.data.demand import BYTES_PER_TOKEN, MAX_TOKENS
from cortex.gateway.data.limit_header import rate_lines

if TYPE_CHECKING:
    from cortex.gateway.data.exchange import Exchange
    from cortex.gateway.data.limiter import Limiter, Waiting
    from cortex.gateway.data.outgoing import Outgoing
    from cortex.gateway.data.plane import Plane
    from cortex.gateway.data.record import RequestRecord
    from cortex.gateway.data.route import InferenceRoute

UNBOUNDED = KeyLimits()

WITHOUT_ANSWER = frozenset(("embeddings", "rerank", "tokenize", "speech", "image_generation", "image_edit"))
"""Operations whose answers are no text of a model."""

_IN_VAIN = frozenset(("engine_error", "failed", "refused"))
"""Outcomes in which nobody got anything, unless an answer had begun."""

Refuse = Callable[[CortexError], None]


def is_free(plane: "Plane", exchange: "Exchange") -> bool:
    """Tell whether nothing limits a request."""
    key = exchange.key
    return key is None or plane.limiter is None or key.limits == UNBOUNDED


def pass_limits(
    plane: "Plane",
    exchange: "Exchange",
    route: "InferenceRoute",
    outgoing: "Outgoing",
    *,
    go_on: Callable[[], None],
    refuse: Refuse,
) -> None:
    """Let a request go on, at once as a rule, or refuse it."""
    key, limiter = exchange.key, plane.limiter
    if key is None or limiter is None or is_free(plane, exchange):
        go_on()
        return
    asked = asked_of(route, outgoing)
    gate = _Gate(plane, limiter, exchange, route, key, go_on, refuse)
    outcome = limiter.enter(key, asked)
    if outcome is not None:
        gate.resume(outcome)
    else:
        wait = exchange.handler = LimitWait(outgoing, refuse)
        wait.waiting = limiter.wait(key, asked, gate.resume)


def asked_of(route: "InferenceRoute", outgoing: "Outgoing") -> Asked:
    """Return what a request may take in tokens."""
    if route.is_upload and not outgoing.size_bytes:
        return Asked(0, 0)
    prompt = min(outgoing.size_bytes // BYTES_PER_TOKEN, MAX_TOKENS)
    answer = 0 if route.operation in WITHOUT_ANSWER else outgoing.max_tokens
    is_bounded = answer is not None and answer >= 0  # llama.cpp's -1: as long as it likes
    return Asked(prompt, answer if is_bounded else None, outgoing.answers)


def settle(exchange: "Exchange", record: "RequestRecord") -> None:
    """A request is over: give back what it had taken of its key's limits and did not use."""
    if exchange.admission is not None:
        exchange.admission.settle(used_by(record))


def used_by(record: "RequestRecord") -> int | None:
    """Return how many tokens a request took; None where it took some and nobody knows how many."""
    if record.total_tokens is not None:
        return record.total_tokens
    if record.prompt_tokens is not None or record.completion_tokens is not None:
        return (record.prompt_tokens or 0) + (record.completion_tokens or 0)
    if not record.attempts or (record.outcome in _IN_VAIN and record.time_to_first_token_ms is None):
        return 0
    return None


class _Gate:
    """One request before the gate."""

    __slots__ = ("_exchange", "_go_on", "_key", "_limiter", "_plane", "_refuse", "_route")

    def __init__(
        self,
        plane: "Plane",
        limiter: "Limiter",
        exchange: "Exchange",
        route: "InferenceRoute",
        key: Key,
        go_on: Callable[[], None],
        refuse: Refuse,
    ) -> None:
        self._plane = plane
        self._limiter = limiter
        self._exchange = exchange
        self._route = route
        self._key = key
        self._go_on = go_on
        self._refuse = refuse

    def resume(self, outcome: Admission | CortexError) -> None:
        exchange, plane = self._exchange, self._plane
        epoch_s = plane.epoch_s(plane.now_s())
        exchange.more_lines += rate_lines(self._route.dialect.name, self._limiter.standing(self._key), epoch_s)
        if isinstance(outcome, Admission):
            exchange.admission = outcome
            self._go_on()
        else:
            self._refuse(outcome)


class LimitWait:
    """A request that waits for the store to say whether its key may. Implements Handler."""

    __slots__ = ("_outgoing", "_refuse", "waiting")

    def __init__(self, outgoing: "Outgoing", refuse: Refuse) -> None:
        self._outgoing = outgoing
        self._refuse = refuse
        self.waiting: Waiting | None = None

    def on_body(self, piece: bytes) -> None:
        """More of an upload came: it is kept for whoever is to send it."""
        try:
            self._outgoing.on_body(piece)
        except CallerError as error:
            self._end()
            self._refuse(error)

    def on_end(self) -> None:
        self._outgoing.on_end()

    def on_gone(self) -> None:
        self._end()

    def on_pause(self) -> None:
        """Nothing is being written."""

    def on_resume(self) -> None:
        """Nothing is being written."""

    def on_shutdown(self) -> None:
        self._end()
        self._refuse(ShuttingDown("This gateway is shutting down: try again."))

    def _end(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
        self._outgoing.release()

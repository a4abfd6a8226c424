"""What is known of one request when it is over: the source of metrics, access log and ledger alike."""

from typing import Literal, Protocol

import msgspec

Outcome = Literal["ok", "engine_error", "failed", "refused", "client_gone"]
"""ok: the engine's whole answer was relayed. engine_error: likewise, but its status was 4xx or 5xx. failed: no answer
or a broken one. refused: no place was to be had, or the request was malformed. client_gone: the client left first."""


class RequestRecord(msgspec.Struct):
    """One request. Token counts are None where the engine told none; times are milliseconds since arrival.

    ``status``: the answer's; of an error told within a stream, the one it would have had unless the engine had answered
    before; 0 when there was none. ``attempts``: places that were granted.
    """

    request_id: str
    path: str
    model: str
    node: str
    status: int
    outcome: Outcome
    is_stream: bool
    attempts: int
    cold_start: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    tok_per_sec: float | None
    time_to_first_token_ms: float | None
    total_latency_ms: float
    error: str | None
    peer: str
    started_s: float
    """UTC epoch seconds."""
    lost: tuple[tuple[str, str], ...] = ()
    """(node, error's code) of the attempts that failed before this one."""
    key: str = ""
    """Name of the key that the request was let in by; empty where none is asked for."""
    key_id: str = ""
    request_overhead_ms: float | None = None
    """From the end of the request to its being sent on, without what it waited for a place. None: it was sent more
    than once, or is an upload, which is sent on as it comes."""
    response_overhead_ms: float | None = None
    """From the engine's bytes that the client's answer begins with to the end of their being written to the client.
    None: the answer did not begin with the engine's."""
    request_bytes: int = 0
    response_bytes: int = 0
    """Of the bodies, as the client sent and got them."""
    trace_id: str = ""
    """Of a request whose spans are recorded; empty for all others."""


def tokens_per_s(completion: int | None, sent_s: float, first_s: float | None, last_s: float | None) -> float | None:
    """Speed of generation: over the gaps between a stream's tokens, over the whole time of an unstreamed answer.

    ``sent_s``: when the engine was given the request, 0 when it never was; ``first_s``: a stream's first content;
    ``last_s``: the last of the answer. None when nothing was generated, or too little to tell.
    """
    if not completion or sent_s == 0.0 or last_s is None:
        return None
    if first_s is None:
        return completion / max(last_s - sent_s, 1e-6)
    return (completion - 1) / (last_s - first_s) if last_s > first_s and completion > 1 else None


def spent_ms(begin_s: float, end_s: float, waited_s: float = 0.0) -> float | None:
    """Milliseconds between two moments, without what was waited between them; None where one of them, 0, is unknown."""
    return max(end_s - begin_s - waited_s, 0.0) * 1e3 if begin_s and end_s else None


class Recorder(Protocol):
    """Takes records. Called on the hot path: it must not wait, format or write."""

    def record(self, record: RequestRecord) -> None:
        """One request is over."""

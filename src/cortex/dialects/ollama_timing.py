"""How long an answer took, in the nanoseconds that Ollama's clients divide tokens by.

What the engine measured itself counts; in a stream the gateway's own clock stands in for it. What nobody knows is left
out. Reads numbers, decides nothing.

Source: llama.cpp's ``timings`` (build 11549, run 2026-10), mistral.rs' ``usage`` (``response.rs``, read 2026-10).
"""

from collections.abc import Callable

import msgspec


class _Timings(msgspec.Struct):
    prompt_ms: float | None = None
    predicted_ms: float | None = None


class _Usage(msgspec.Struct):
    total_prompt_time_sec: float | None = None
    total_completion_time_sec: float | None = None


class _Body(msgspec.Struct):
    timings: _Timings | None = None
    usage: _Usage | None = None


_MAX_S = 1e9
"""An engine may claim to have taken longer than there are numbers."""

_decode = msgspec.json.Decoder(_Body).decode


class Timing:
    """One attempt at an answer. ``elapsed_s`` is seconds since the request arrived; None: there is no clock."""

    __slots__ = ("_elapsed_s", "_first_s", "_predicted_s", "_prompt_s", "_sent_s")

    def __init__(self, elapsed_s: Callable[[], float] | None) -> None:
        self._elapsed_s = elapsed_s
        self._sent_s = elapsed_s() if elapsed_s else None
        self._first_s: float | None = None
        self._prompt_s: float | None = None
        self._predicted_s: float | None = None

    def begin(self) -> None:
        """The first of a streamed answer is here."""
        if self._first_s is None and self._elapsed_s is not None:
            self._first_s = self._elapsed_s()

    def look(self, payload: bytes) -> None:
        """Take what the engine measured from a chunk or a whole answer, if it is there."""
        if b'_ms"' not in payload and b'_time_sec"' not in payload:
            return
        try:
            found = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        timings, usage = found.timings or _Timings(), found.usage or _Usage()
        if timings.prompt_ms is not None and timings.predicted_ms is not None:
            self._prompt_s, self._predicted_s = timings.prompt_ms / 1000, timings.predicted_ms / 1000
        elif usage.total_prompt_time_sec and usage.total_completion_time_sec:
            # mistral.rs rounds to milliseconds, down to nothing for a short answer
            self._prompt_s, self._predicted_s = usage.total_prompt_time_sec, usage.total_completion_time_sec

    def members(self) -> dict[str, int]:
        """Return the members of a final object, now that the answer is over; ``load_duration`` is all that came
        before the request was sent: waiting for the model and for a place in it."""
        prompt_s, predicted_s = self._prompt_s, self._predicted_s
        end_s = self._elapsed_s() if self._elapsed_s else None
        if self._first_s is not None and self._sent_s is not None and end_s is not None:
            prompt_s = self._first_s - self._sent_s if prompt_s is None else prompt_s
            predicted_s = end_s - self._first_s if predicted_s is None else predicted_s
        seconds = {
            "total_duration": end_s,
            "load_duration": self._sent_s,
            "prompt_eval_duration": prompt_s,
            "eval_duration": predicted_s,
        }
        return {name: round(min(max(took, 0.0), _MAX_S) * 1e9) for name, took in seconds.items() if took is not None}

"""Says an engine's answer as Ollama does: lines of JSON as it comes, or one object.

    events --> {"message": {"content": "Hi"}, "done": false} …   end --> {"done": true, "done_reason": "stop", counts}

``/api/chat`` and ``/api/generate`` differ in where the text stands, no more. Decides nothing about requests.

Source: Ollama's ``api/types.go`` and ``server/routes.go`` (0.40, read 2026-11).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.chat_echo import without_echo
from cortex.dialects.chat_event import Called, ChatEvent, Counted, Failed, Finished, Reasoned, Said
from cortex.dialects.chat_reader import ChatReader, read_answer
from cortex.dialects.engine_error import broken_call
from cortex.dialects.ollama_timing import Timing
from cortex.dialects.usage import Usage

Endpoint = Literal["chat", "generate"]

_encode = msgspec.json.Encoder().encode

_GAP = "text"


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """How one request is answered. ``model`` is the caller's name for it; ``is_load`` and ``is_silent`` (no reasoning)
    say what the caller does not want to hear."""

    endpoint: Endpoint
    model: str
    created_at: str
    new_id: Callable[[str], str]
    is_load: bool = False
    is_silent: bool = False

    def piece(self, text: str, thinking: str = "", calls: Sequence[object] = ()) -> dict[str, object]:
        """Return a piece of an answer, or all of it, but for whether it is done."""
        spoken: dict[str, object] = {}
        if thinking:
            spoken["thinking"] = thinking
        if calls:
            spoken["tool_calls"] = calls
        head = {"model": self.model, "created_at": self.created_at}
        if self.endpoint == "chat":
            return {**head, "message": {"role": "assistant", "content": text, **spoken}}
        return {**head, "response": text, **spoken}

    def call(self, called: Called, index: int) -> dict[str, object]:
        """Return a tool call; its arguments are an object here, on one line as everything is."""
        arguments = called.arguments.replace("\n", " ").replace("\r", " ")  # in JSON a blank like any other
        function = {"index": index, "name": called.name, "arguments": msgspec.Raw(arguments.encode())}
        return {"id": called.id or self.new_id("call_"), "function": function}


def line(said: object) -> bytes:
    """Return one object of a stream."""
    return _encode(said) + b"\n"


def error_object(error: CortexError) -> dict[str, str]:
    """Return what Ollama's clients take for an error, be it an answer or a line of a stream."""
    return {"error": error.message}


def rfc3339(epoch_s: float) -> str:
    """Return a time as Ollama writes it."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat().replace("+00:00", "Z")


def whole(body: bytes, echo: str, voice: Voice, timing: Timing) -> bytes:
    """Return the answer to a request that was not streamed; ``echo``: see ``chat_echo``. Raises: UpstreamError."""
    events = without_echo(read_answer(body), echo)
    timing.look(body)
    thinking = "".join(event.text for event in events if isinstance(event, Reasoned))
    text = "".join(event.text for event in events if isinstance(event, Said))
    calls = [event for event in events if isinstance(event, Called)]
    finished = next(event for event in events if isinstance(event, Finished))
    counted = next((event for event in reversed(events) if isinstance(event, Counted)), None)
    if broken := _broken(finished):
        raise broken
    if voice.is_load:
        text, thinking, calls = "", "", []
    spoken = [voice.call(call, index) for index, call in enumerate(calls)]
    return _encode(
        voice.piece(text, "" if voice.is_silent else thinking, spoken)
        | _end(finished, counted.usage if counted else None, voice, timing)
    )


class OllamaWriter:
    """Implements ``StreamWriter``."""

    __slots__ = ("_after", "_before", "_calls", "_has_ended", "_reader", "_timing", "_voice", "failure", "usage")

    def __init__(self, voice: Voice, timing: Timing) -> None:
        self._voice = voice
        self._timing = timing
        self._reader = ChatReader()
        # Nearly every line is a piece of text, so what stands around it is written once.
        self._before, _, self._after = self._line(_GAP).rpartition(_encode(_GAP))
        self._calls = 0
        self._has_ended = False
        self.usage: Usage | None = None
        self.failure: CortexError | None = None

    @property
    def is_complete(self) -> bool:
        """See ``StreamWriter``."""
        return self._reader.is_complete

    def feed(self, payload: bytes) -> bytes:
        """See ``StreamWriter``."""
        self._timing.look(payload)
        return b"".join([self._say(event) for event in self._reader.feed(payload)])

    def end(self) -> bytes:
        """See ``StreamWriter``."""
        out = b""
        for event in self._reader.end():
            if not isinstance(event, Finished):
                out += self._say(event)
            elif broken := _broken(event):
                out += self._fail(broken)
            else:
                self._has_ended = True
                out += line(self._voice.piece("") | _end(event, self.usage, self._voice, self._timing))
        return out

    def fail(self, error: CortexError, status: int) -> bytes:
        """See ``StreamWriter``."""
        return b"" if self._has_ended or self.failure is not None else self._fail(error)

    def _fail(self, error: CortexError) -> bytes:
        self.failure = error
        return line(error_object(error))

    def _say(self, event: ChatEvent) -> bytes:
        if isinstance(event, Counted):
            self.usage = event.usage
            return b""
        if isinstance(event, Failed):
            return self._fail(event.error)
        self._timing.begin()
        if self._voice.is_load or isinstance(event, Finished):
            return b""
        if isinstance(event, Said):
            return b"%b%b%b" % (self._before, _encode(event.text), self._after)
        if isinstance(event, Reasoned):
            return b"" if self._voice.is_silent else self._line("", event.text)
        self._calls += 1
        return self._line("", calls=(self._voice.call(event, self._calls - 1),))

    def _line(self, text: str, thinking: str = "", calls: Sequence[object] = ()) -> bytes:
        return line({**self._voice.piece(text, thinking, calls), "done": False})


def _broken(finished: Finished) -> CortexError | None:
    """A call that was cut must not be executed; of an answer that is cut for its length it is left out."""
    if finished.has_cut_call and finished.reason != "length":
        return broken_call()
    return None


def _end(finished: Finished, usage: Usage | None, voice: Voice, timing: Timing) -> dict[str, object]:
    """Return what the last object has besides text."""
    timed = timing.members()
    if voice.is_load:
        timed = {name: timed[name] for name in ("total_duration", "load_duration") if name in timed}
        return {"done": True, "done_reason": "load", **timed}
    counts: dict[str, int | None] = {"prompt_eval_count": None, "eval_count": None}
    if usage is not None:
        counts = {"prompt_eval_count": usage.prompt_tokens, "eval_count": usage.completion_tokens}
    reason = "length" if finished.reason == "length" else "stop"
    known = {name: count for name, count in counts.items() if count is not None}
    return {"done": True, "done_reason": reason, **timed, **known}

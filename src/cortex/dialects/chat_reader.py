"""Reads what an engine answers in OpenAI chat, as a stream or whole, with every engine's quirks taken away.

    payload --feed--> [Reasoned | Said | Called | Counted | Failed]      end --> the rest and Finished

Text and reasoning leave at once, in whole characters. Blanks before a run of them wait: what follows may be a call
(engines send ``"\\n"`` between calls, and ``"\\n\\n"`` for no thoughts), and then nothing was said. Calls leave whole
(``tool_assembly``). Only the first choice counts. The finish waits for the end, because usage and, from some engines,
text come after it. Nothing is decided about dialects here; ``chat_chunk`` knows what chunks look like.
"""

from cortex.contract.error import CortexError, EngineFailed, UpstreamBroken
from cortex.dialects.chat_chunk import CallPiece, Choice, Chunk, Delta, Timings, TokenCounts, read_chunk
from cortex.dialects.chat_event import ChatEvent, Counted, Failed, Finished, Reasoned, Said
from cortex.dialects.engine_error import stream_error
from cortex.dialects.surrogate import Joint
from cortex.dialects.tool_assembly import ToolAssembly
from cortex.dialects.usage import Usage

_NO_FINISH = frozenset({"error", "abort", "canceled", "cancelled"})
"""Reasons that are none: the engine gave up. mistral.rs: ``canceled``, vLLM and SGLang: ``abort``, vLLM: ``error``."""


class _Run:
    """One kind of text, of which a run ends when something else is said."""

    __slots__ = ("_blanks", "_joint", "is_open")

    def __init__(self) -> None:
        self.is_open = False
        self._blanks = ""
        self._joint = Joint()

    def take(self, text: str) -> str:
        """Return what may leave."""
        if self._joint.held or not text.isascii():
            text = self._joint.take(text)
        if self.is_open:
            return text
        text = self._blanks + text
        self.is_open = text != "" and not text.isspace()
        self._blanks = "" if self.is_open else text
        return text if self.is_open else ""

    def close(self) -> str:
        """End the run; return what is left of a character."""
        rest = self._joint.end()
        if self.is_open:
            self.is_open = False
            return rest
        self._blanks += rest
        return ""

    def drop_blanks(self) -> str:
        """Return blanks that were held and forget them."""
        blanks, self._blanks = self._blanks, ""
        return blanks


class ChatReader:
    """One answer. Fresh for every attempt."""

    __slots__ = ("_calls", "_has_ended", "_has_failed", "_has_usage", "_reason", "_said", "_stop", "_thought")

    def __init__(self) -> None:
        self._said = _Run()
        self._thought = _Run()
        self._calls = ToolAssembly()
        self._reason = ""
        self._stop: str | None = None
        self._has_usage = False
        self._has_failed = False
        self._has_ended = False

    @property
    def is_complete(self) -> bool:
        """The engine said how it finished, and no error."""
        return self._reason != "" and not self._has_failed

    def feed(self, payload: bytes) -> list[ChatEvent]:
        """Take the payload of one ``data:`` event, never ``[DONE]``. After a failure nothing more is said."""
        return self.take(read_chunk(payload)) if payload else []

    def take(self, chunk: Chunk) -> list[ChatEvent]:
        """Take one chunk that is read already."""
        if self._has_failed:
            return []
        if chunk.error:
            return self._fail(stream_error(chunk.error))
        out: list[ChatEvent] = []
        choice = _first(chunk.choices)
        usage = chunk.usage or (choice.usage if choice is not None else None)
        if usage is not None:
            self._count(usage, out)
        if choice is not None:
            delta = choice.delta or choice.message
            if delta is not None:
                self._take_delta(delta, out)
            elif choice.text:
                self._say(choice.text, out)
            if choice.finish_reason:
                self._finish(choice, choice.finish_reason, chunk.timings, out)
        return out

    def end(self) -> list[ChatEvent]:
        """The answer is over: return the rest, ``Finished`` last. Nothing when the engine did not say that it is."""
        if not self.is_complete or self._has_ended:
            return []
        self._has_ended = True
        out: list[ChatEvent] = []
        _put(Reasoned, self._thought.close(), out)
        has_said = self._said.is_open
        _put(Said, self._said.close(), out)
        out.extend(self._calls.end(is_cut=self._reason == "length"))
        if self._calls.is_empty and not has_said:
            _put(Said, self._said.drop_blanks(), out)
        out.append(Finished(reason=self._reason, stop=self._stop, has_cut_call=self._calls.has_cut_call))
        return out

    def _take_delta(self, delta: Delta, out: list[ChatEvent]) -> None:
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            self._reason_on(thought, out)
        text = delta.content or delta.refusal
        if text:
            self._say(text, out)
        if delta.tool_calls:
            self._call(delta.tool_calls, out)
        elif delta.function_call is not None:
            self._call([CallPiece(index=0, function=delta.function_call)], out)

    def _reason_on(self, text: str, out: list[ChatEvent]) -> None:
        was_open = self._thought.is_open
        text = self._thought.take(text)
        if text:
            if not was_open:
                _put(Said, self._said.close(), out)
                out.extend(self._calls.whole())
            out.append(Reasoned(text))

    def _say(self, text: str, out: list[ChatEvent]) -> None:
        was_open = self._said.is_open
        text = self._said.take(text)
        if text:
            if not was_open:
                _put(Reasoned, self._thought.close(), out)
                out.extend(self._calls.whole())
            out.append(Said(text))

    def _call(self, pieces: list[CallPiece], out: list[ChatEvent]) -> None:
        if self._calls.take(pieces):
            _put(Reasoned, self._thought.close(), out)
            _put(Said, self._said.close(), out)
            self._said.drop_blanks()
            out.extend(self._calls.whole())

    def _finish(self, choice: Choice, reason: str, timings: Timings | None, out: list[ChatEvent]) -> None:
        if reason in _NO_FINISH:
            out.extend(self._fail(EngineFailed(f"The engine gave up on this request (finish_reason {reason!r}).")))
            return
        self._reason = reason
        self._stop = _stop_of(choice) or self._stop
        out.extend(self._calls.whole())
        if timings is not None and not self._has_usage:
            _put_timings(timings, out)

    def _count(self, usage: TokenCounts, out: list[ChatEvent]) -> None:
        if usage.prompt_tokens is None and usage.completion_tokens is None:
            return
        self._has_usage = True
        prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
        out.append(
            Counted(
                usage=Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
                cached_tokens=_part(prompt.cached_tokens if prompt else None, usage.prompt_tokens),
                reasoning_tokens=_part(completion.reasoning_tokens if completion else None, usage.completion_tokens),
            )
        )

    def _fail(self, error: CortexError) -> list[ChatEvent]:
        self._has_failed = True
        return [Failed(error)]


def read_answer(body: bytes) -> list[ChatEvent]:
    """Read a whole answer: the events that its stream would have given, each text in one piece.

    A missing ``finish_reason`` is a ``stop``. Raises: UpstreamError when the answer is an error or none at all (an
    error that is the request's own fault: CallerError).
    """
    chunk = read_chunk(body)
    reader = ChatReader()
    choice = _first(chunk.choices)
    if choice is not None and not choice.finish_reason and not chunk.error:
        choice.finish_reason = "stop"
    events = reader.take(chunk)
    for event in events:
        if isinstance(event, Failed):
            raise event.error
    if choice is None or (choice.message is None and choice.delta is None and choice.text is None):
        raise UpstreamBroken("The engine's answer has no message in it.")
    return [*events, *reader.end()]


def _first(choices: list[Choice] | None) -> Choice | None:
    """Return the first choice; engines that were asked for one give others only by mistake."""
    for choice in choices or ():
        if not choice.index:
            return choice
    return None


def _stop_of(choice: Choice) -> str | None:
    """Return the stop sequence that ended the answer, where an engine says it; numbers are tokens."""
    said = (choice.stop_sequence, choice.stop_reason, choice.matched_stop, choice.stopping_word)
    return next((word for word in said if isinstance(word, str) and word), None)


def _put(kind: type[Said] | type[Reasoned], text: str, out: list[ChatEvent]) -> None:
    if text:
        out.append(kind(text))


def _part(count: int | None, whole: int | None) -> int | None:
    """Return a count of what is among others: it cannot be more than these."""
    return count if count is None or whole is None else min(count, whole)


def _put_timings(timings: Timings, out: list[ChatEvent]) -> None:
    if timings.prompt_n is None or timings.predicted_n is None:
        return
    prompt = timings.prompt_n + (timings.cache_n or 0)
    usage = Usage(prompt, timings.predicted_n, prompt + timings.predicted_n)
    out.append(Counted(usage=usage, cached_tokens=timings.cache_n))

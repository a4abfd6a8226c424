"""What a whole answer and a stream of Anthropic's dialect have in common: why it stopped, what it cost, what ids are.

Decides stop reasons, signatures, which ids of tool calls are taken over. ``anthropic_reply`` and ``anthropic_stream``
write it down.
"""

import base64
import hashlib
import re
from collections.abc import Callable

import msgspec

from cortex.dialects.chat_event import Counted, Finished

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""As Anthropic's own API wants the ids of tool calls; engines also send others, empty ones, and one id twice."""

_SLACK_TOKENS = 16
"""Engines stop some tokens before the context is full (mistral.rs: 2044 of 2048, measured 2026-10)."""


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request bears on its answer."""

    model: str
    """As the caller named it."""
    max_tokens: int | None = None
    context: int | None = None
    """How many tokens the engine takes at most; None when unknown."""
    stop: tuple[str, ...] = ()
    thinks: bool = True
    """Thinking was asked for; else what the engine thinks all the same is dropped."""
    hides_thinking: bool = False
    """Thinking is shown as an empty block with a signature."""
    is_single_call: bool = False
    """One call at a time: the others are dropped."""
    call_ids: frozenset[str] = frozenset()
    """Those that the conversation has already: some engines begin to count anew with each answer."""
    new_id: Callable[[str], str]


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Why an answer is over."""

    reason: str
    sequence: str | None = None

    def members(self) -> dict[str, object]:
        """The members that say so, of a message or of a ``message_delta``'s ``delta``."""
        said: dict[str, object] = {"stop_reason": self.reason, "stop_sequence": self.sequence}
        if self.reason == "refusal":
            said["stop_details"] = {"type": "refusal"}
        return said


class CallIds:
    """The ids of one answer's tool calls. A client keys results by them, so that none may come again."""

    __slots__ = ("_given", "_new_id")

    def __init__(self, answering: Answering) -> None:
        self._new_id = answering.new_id
        self._given = set(answering.call_ids)

    def take(self, id: str) -> str:
        """Return the engine's id if a client can use it, else a new one."""
        if not _ID.fullmatch(id) or id in self._given:
            id = self._new_id("toolu_")
        self._given.add(id)
        return id


def signature(thought: str) -> str:
    """What makes thinking recognisable as cortex's own when it comes back; clients keep it as it is.

    Deterministic, so that the same conversation is the same bytes. It proves nothing, and nothing relies on it.
    """
    digest = hashlib.blake2b(thought.encode(), digest_size=24).digest()
    return base64.b64encode(b"cortex:" + digest).decode()


def choose_stop(finished: Finished, counted: Counted | None, answering: Answering, *, has_called: bool) -> Stop:
    """Choose the stop reason: 1. the length, 2. a refusal, 3. calls that were made, 4. a stop sequence, 5. the end."""
    if finished.reason == "length":  # 1
        return Stop(reason="model_context_window_exceeded" if _is_full(counted, answering) else "max_tokens")
    if finished.reason == "content_filter":  # 2
        return Stop(reason="refusal")
    if has_called:  # 3
        return Stop(reason="tool_use")
    if finished.stop is not None and finished.stop in answering.stop:  # 4
        return Stop(reason="stop_sequence", sequence=finished.stop)
    return Stop(reason="end_turn")  # 5


def is_broken(finished: Finished, *, has_called: bool, is_single_call: bool) -> bool:
    """Tell whether a cut call spoils the answer; one that the length cut, or that nobody wanted, does not."""
    is_unwanted = is_single_call and has_called
    return finished.has_cut_call and finished.reason != "length" and not is_unwanted


def usage_members(counted: Counted | None) -> dict[str, object]:
    """Return ``usage``. What came from the cache is not counted as input again; what the engine did not say is 0."""
    usage = counted.usage if counted else None
    prompt = (usage.prompt_tokens if usage else None) or 0
    cached = min((counted.cached_tokens if counted else None) or 0, prompt)
    members: dict[str, object] = {
        "input_tokens": prompt - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": (usage.completion_tokens if usage else None) or 0,
    }
    if counted is not None and counted.reasoning_tokens is not None:
        members["output_tokens_details"] = {"thinking_tokens": counted.reasoning_tokens}
    return members


def _is_full(counted: Counted | None, answering: Answering) -> bool:
    """Tell whether the context, and not the caller's ``max_tokens``, ended the answer."""
    if counted is None or answering.context is None:
        return False
    prompt, completion = counted.usage.prompt_tokens, counted.usage.completion_tokens
    if prompt is None or completion is None or completion >= (answering.max_tokens or completion + 1):
        return False
    return prompt + completion >= answering.context - _SLACK_TOKENS

"""The ``response`` object: what a client is told of its request, how far it is, and what has come of it.

Every member that OpenAI's object must have is there at every stage; what was asked is told back as it was said. What an
engine decides by itself (temperature, …) is null, not a guess.

Source: ``Response`` of OpenAI's Python SDK (3.57.0).
"""

from typing import Any, Literal

import msgspec

from cortex.contract.error import CallerError, ContextExceeded, CortexError, TooManyRequests
from cortex.dialects.chat_event import Counted
from cortex.dialects.error import openai_type
from cortex.dialects.responses_request import ResponsesRequest
from cortex.dialects.responses_wire import is_absent

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same in every object about one response. ``created_at`` is UTC epoch seconds."""

    id: str
    created_at: int
    request: ResponsesRequest

    def object(self, status: Status, **members: object) -> dict[str, Any]:
        """Return the object. ``members``: ``output``, ``usage``, ``error``, ``incomplete_details``."""
        wire = self.request.wire
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "completed_at": None,
            "background": self.request.is_background,
            "error": None,
            "incomplete_details": None,
            "instructions": wire.instructions,
            "max_output_tokens": wire.max_output_tokens,
            "max_tool_calls": wire.max_tool_calls,
            "model": self.request.model,
            "output": [],
            "parallel_tool_calls": wire.parallel_tool_calls is not False,
            "previous_response_id": wire.previous_response_id,
            "prompt_cache_key": wire.prompt_cache_key,
            "reasoning": _reasoning(self.request),
            "safety_identifier": wire.safety_identifier,
            "service_tier": "default",
            "store": self.request.is_stored,
            "temperature": wire.temperature,
            "text": _text(self.request),
            "tool_choice": "auto" if is_absent(wire.tool_choice) else wire.tool_choice,
            "tools": wire.tools or [],
            "top_logprobs": wire.top_logprobs or 0,
            "top_p": wire.top_p,
            "truncation": "disabled",
            "usage": None,
            "user": wire.user,
            "metadata": wire.metadata or {},
            **members,
        }


def usage_object(counted: Counted | None) -> dict[str, Any] | None:
    """Return ``usage``; None when the engine did not count."""
    if counted is None:
        return None
    usage = counted.usage
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": counted.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": counted.reasoning_tokens or 0},
        "total_tokens": prompt + completion,
    }


def error_object(error: CortexError) -> dict[str, Any]:
    """Return ``error`` of a response that failed.

    Codex (0.169) tells ``context_length_exceeded`` and ``invalid_prompt`` apart and does not try those again; any other
    code it takes for a passing trouble.
    """
    return {
        "code": _code(error),
        "message": error.message,
        "param": error.details.get("param"),
        "type": openai_type(error),
    }


def _code(error: CortexError) -> str:
    if isinstance(error, ContextExceeded):
        return error.code
    if isinstance(error, TooManyRequests):
        return "rate_limit_exceeded"
    return "invalid_prompt" if isinstance(error, CallerError) else "server_error"


def _reasoning(request: ResponsesRequest) -> dict[str, object]:
    asked = request.wire.reasoning
    return {"effort": asked.effort if asked else None, "summary": asked.summary if asked else None}


def _text(request: ResponsesRequest) -> dict[str, object]:
    text = request.wire.text
    form = text.format if text else None
    shown: dict[str, object] = {"type": form.type if form else "text"}
    if form is not None and form.type == "json_schema":
        shown |= {"name": form.name or "answer", "schema": form.schema, "strict": form.strict is True}
        if form.description is not None:
            shown["description"] = form.description
    return {"format": shown, "verbosity": (text.verbosity if text else None) or "medium"}

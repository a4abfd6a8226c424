"""How Responses says that something went wrong, before anything else was said. Later, the answer itself says so.

HTTP: OpenAI's envelope. In a stream: the three events of a response that failed at once, because clients that read one
(Codex 0.169, OpenAI's SDK) look for ``response.failed`` and miss the ``created`` before it.
"""

from cortex.contract.error import CortexError
from cortex.dialects.error import openai_body
from cortex.dialects.responses_object import error_object
from cortex.dialects.responses_stream import written


def error_body(error: CortexError) -> bytes:
    """Return the whole answer to a request that failed before the first byte of its answer."""
    return openai_body(error)


def error_event(error: CortexError, request_id: str) -> bytes:
    """Return the whole stream of a request that failed before anything was said. Nothing is kept under its id."""
    response = {
        "id": f"resp_{request_id}",
        "object": "response",
        "created_at": 0,
        "status": "failed",
        "error": error_object(error),
        "incomplete_details": None,
        "instructions": None,
        "model": str(error.details.get("model", "")),
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": None,
        "top_p": None,
        "usage": None,
        "metadata": {},
    }
    begun = {**response, "status": "in_progress", "error": None}
    told = (("response.created", begun), ("response.in_progress", begun), ("response.failed", response))
    return written(
        {"type": kind, "sequence_number": number, "response": shown} for number, (kind, shown) in enumerate(told)
    )

"""A request of 100 KB as a coding agent sends it with each turn, made up by code.

Its form is that of Claude Code's (measured 2026-10): 25 tools of 74 KB, whose schemas use the keywords that were seen
there; a system prompt of three blocks, the first of them a header that is no prompt; 20 messages with calls and their
results, and one of ``system`` among them; cache marks, thinking, effort.
"""

from bench.peer.interface import MODEL

TOOLS = 25
TEXT_BYTES = 400
"""Of a description; with five of them a tool has about 3 KB."""
CALLS = 9
"""Calls so far: each is a message of the assistant's and one with its result."""
RESULT_BYTES = 1_100
SYSTEM_BYTES = 9_000

_MARK = {"type": "ephemeral"}
_WORDS = "Reads a file of the project; a path must be absolute, and what is longer than 2,000 lines is cut. "


def agent_request(orders: str, generation: int = 0) -> dict[str, object]:
    """Return the body of a streamed ``POST /v1/messages``; another generation has other tools of the same size."""
    return {
        "model": MODEL,
        "messages": _messages(orders),
        "system": [
            _text("x-anthropic-billing-header: cc_version=2.1.197.b3f; cc_entrypoint=cli;"),
            {**_text(orders + "You are an agent that works on code."), "cache_control": _MARK},
            {**_text(_prose(SYSTEM_BYTES)), "cache_control": _MARK},
        ],
        "tools": [_tool(number, generation) for number in range(TOOLS)],
        "metadata": {"user_id": '{"device_id":"d","account_uuid":"","session_id":"s"}'},
        "max_tokens": 32_000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
    }


def _messages(orders: str) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = [
        {"role": "user", "content": [_text(orders + "Find out why the test fails, and mend it.")]},
        {"role": "system", "content": "The user has opened src/main.py."},
    ]
    for number in range(CALLS):
        call_id, path = f"toolu_{number:024}", f"/srv/project/src/module_{number}.py"
        said = [_text("I look at the next file."), _call(number, call_id, path)]
        messages.append({"role": "assistant", "content": said})
        messages.append({"role": "user", "content": [_result(call_id)]})
    return messages


def _call(number: int, call_id: str, path: str) -> dict[str, object]:
    arguments = {"path": path, "limit": 2000, "note": _prose(200)}
    return {"type": "tool_use", "id": call_id, "name": f"Tool{number}", "input": arguments}


def _result(call_id: str) -> dict[str, object]:
    result = "".join(f"{line:>6}\tdef f{line}(x):\n\treturn x\n" for line in range(RESULT_BYTES // 30))
    return {"type": "tool_result", "tool_use_id": call_id, "content": result, "cache_control": _MARK}


def _tool(number: int, generation: int) -> dict[str, object]:
    properties = {
        "path": {"type": "string", "description": _prose(TEXT_BYTES), "minLength": 1, "pattern": "^/.*"},
        "limit": {"type": "integer", "description": _prose(TEXT_BYTES), "exclusiveMinimum": 0, "maximum": 2000},
        "url": {"type": "string", "format": "uri", "description": _prose(TEXT_BYTES)},
        "mode": {"type": "string", "enum": ["read", "list", "count"], "default": "read"},
        "edits": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "type": "object",
                "properties": {
                    "old": {"type": "string", "description": _prose(TEXT_BYTES // 2)},
                    "new": {"anyOf": [{"type": "string"}, {"const": None}], "description": _prose(TEXT_BYTES // 2)},
                    "is_everywhere": {"type": "boolean", "default": False},
                },
                "required": ["old", "new"],
                "additionalProperties": False,
            },
        },
        "labels": {
            "type": "object",
            "propertyNames": {"type": "string", "maxLength": 40},
            "additionalProperties": {"type": "string"},
        },
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Input of tool {number}, generation {generation:06}",
        "type": "object",
        "properties": properties,
        "required": ["path"],
        "additionalProperties": False,
    }
    return {"name": f"Tool{number}", "description": _prose(TEXT_BYTES), "input_schema": schema}


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def _prose(count: int) -> str:
    return (_WORDS * (count // len(_WORDS) + 1))[:count]

"""Anthropic's tools and ``tool_choice`` as chat has them.

Tools that Anthropic's service runs by itself cannot be run here: they are left out, by name, unless the request depends
on them. Tools that the caller runs without saying what they take cannot be offered to another model: they are refused.
"""

from collections.abc import Sequence

import msgspec

from cortex.contract.error import MalformedRequest
from cortex.dialects.anthropic_wire import Choice, ToolEntry, is_given
from cortex.dialects.chat_request import Tool, ToolChoice
from cortex.dialects.client_body import malformed

_SCHEMALESS = ("bash_", "text_editor_", "computer_")
"""How the types of Anthropic's tools begin that the caller runs; what they take only its own models know."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What may be called. ``dropped``: names of the tools that were left out."""

    offered: tuple[Tool, ...] = ()
    dropped: tuple[str, ...] = ()
    choice: ToolChoice | None = None
    is_single_call: bool = False


def read_tools(entries: Sequence[ToolEntry] | None, choice: Choice | None) -> Tools:
    """Return what may and must be called. Raises: MalformedRequest."""
    offered: list[Tool] = []
    dropped: list[str] = []
    for index, entry in enumerate(entries or ()):
        if entry.type in (None, "custom") or is_given(entry.input_schema):
            offered.append(_tool(entry, f"tools.{index}"))
        elif (entry.type or "").startswith(_SCHEMALESS):
            raise malformed(
                f"tools.{index}.type",
                f'"{(entry.type or "")[:100]}" is not supported: give the tool a name, a description and an '
                "input_schema of its own",
            )
        else:
            dropped.append(entry.name or entry.type or "")
    if dropped and not offered:
        raise _unavailable("tools", dropped)
    chosen = _choice(choice, [tool.name for tool in offered], dropped)
    is_single_call = choice is not None and choice.disable_parallel_tool_use is True
    return Tools(
        offered=tuple(offered),
        dropped=tuple(dropped),
        choice=chosen if offered else None,
        is_single_call=is_single_call,
    )


def _tool(entry: ToolEntry, place: str) -> Tool:
    if not entry.name:
        raise malformed(f"{place}.name", "missing, but required")
    if not is_given(entry.input_schema):
        raise malformed(f"{place}.input_schema", "missing, but required")
    if not bytes(entry.input_schema).startswith(b"{"):
        raise malformed(f"{place}.input_schema", "must be an object")
    return Tool(
        name=entry.name,
        description=entry.description or "",
        parameters=entry.input_schema,
        is_strict=entry.strict,
    )


def _choice(choice: Choice | None, offered: list[str], dropped: list[str]) -> ToolChoice | None:
    if choice is None:
        return None
    if choice.type == "auto":
        return ToolChoice(mode="auto")
    if choice.type == "any":
        return ToolChoice(mode="required")
    if choice.type == "none":
        return ToolChoice(mode="none")
    if choice.type != "tool":
        raise malformed("tool_choice.type", f'must be "auto", "any", "tool" or "none", not "{choice.type[:100]}"')
    if choice.name in dropped:
        raise _unavailable("tool_choice.name", [choice.name or ""])
    if choice.name not in offered:
        raise malformed("tool_choice.name", f'there is no tool "{(choice.name or "")[:100]}" among tools')
    return ToolChoice(mode="function", name=choice.name or "")


def _unavailable(place: str, names: list[str]) -> MalformedRequest:
    return malformed(place, f"{', '.join(names)[:200]}: tools that Anthropic's service runs are not available here")

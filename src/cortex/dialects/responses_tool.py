"""The tools of a Responses request: which functions stand in for them in a chat, and what a call of one means.

    function, flat          the function itself
    custom (freeform)       a function with one string, ``input``; a grammar is told in its description
    namespace of either     ``<namespace>__<name>``; a call gets its ``namespace`` back
    run by the service      web_search and its like: dropped, and named in ``dropped``
    run by the client, but without a schema that could be told (shell, apply_patch, computer), and MCP: refused

Source: OpenAI's API reference, Codex 0.169's tools (captured 2026-11).
"""

import re
from typing import Literal

import msgspec

from cortex.contract.error import CallerError
from cortex.dialects.chat_request import Tool, ToolChoice
from cortex.dialects.client_body import malformed, read_member
from cortex.dialects.responses_item import read_tag

REFUSED = {
    "mcp": "Connect to the MCP server in the client, and give its tools as functions.",
    "local_shell": "Declare it as a function.",
    "shell": "Declare it as a function.",
    "apply_patch": 'Declare it as a function, or as {"type": "custom"}.',
    "computer": "Declare what it can do as functions.",
    "computer_use_preview": "Declare what it can do as functions.",
}
"""What dropping would hide from a client that is ready to run it."""

_INPUT_SCHEMA = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string","description":"The whole input, as plain text."}},'
    b'"required":["input"],"additionalProperties":false}'
)
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """What the client calls a tool, and of which kind it is."""

    name: str
    namespace: str = ""
    is_custom: bool = False


class _Grammar(msgspec.Struct):
    type: str = ""
    syntax: str = ""
    definition: str = ""


class _Declared(msgspec.Struct):
    """A function or a custom tool."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw()
    strict: bool | None = None
    format: _Grammar | None = None


class _Namespace(msgspec.Struct):
    name: str
    description: str | None = None
    tools: list[msgspec.Raw] = []


class _Choice(msgspec.Struct):
    type: str = ""
    name: str | None = None
    namespace: str | None = None
    mode: Literal["auto", "required", "none"] = "auto"
    tools: list["_Choice"] = []


_decode_declared = msgspec.json.Decoder(_Declared).decode
_decode_namespace = msgspec.json.Decoder(_Namespace).decode
_decode_mode = msgspec.json.Decoder(Literal["auto", "none", "required"]).decode
_decode_choice = msgspec.json.Decoder(_Choice).decode


class Toolbox:
    """The tools of one request."""

    def __init__(self) -> None:
        self.tools: list[Tool] = []
        self.dropped: list[str] = []
        """Types of tools that are left out."""
        self._named: dict[str, Named] = {}
        self._chat_names: dict[tuple[str, str], str] = {}
        self._choosable: dict[tuple[str | None, str], str] = {}
        self._taken: dict[str, int] = {}
        """How many tools want a name."""

    def add(self, raw: msgspec.Raw, where: str) -> None:
        """Take one tool as it was declared. Raises: CallerError, MalformedRequest."""
        kind = read_tag(raw, where).type
        if kind == "namespace":
            space = read_member(where, raw, _decode_namespace)
            for place, inner in enumerate(space.tools):
                self._add_declared(inner, f"{where}.tools.{place}", space)
        elif kind in ("function", "custom"):
            self._add_declared(raw, where, None)
        elif kind in REFUSED:
            raise CallerError(
                f"{where}: tools of type {kind!r} are not supported by models served here. {REFUSED[kind]}", param=where
            )
        elif kind is None:
            raise malformed(f"{where}.type", "expected function, custom or namespace")
        else:
            self.dropped.append(kind)

    def check(self) -> None:
        """Refuse a request all of whose tools were dropped: the client counts on them. Raises: CallerError."""
        if self.dropped and not self.tools:
            named = ", ".join(self.dropped)[:200]
            raise CallerError(
                f"tools: {named} is run by OpenAI's service and does not exist here; declare functions instead, "
                "or leave it out.",
                param="tools",
            )

    def chat_name(self, namespace: str, name: str) -> str:
        """Return the name of the function that stands in for a tool, also of one that is not declared (any more)."""
        return self._chat_names.get((namespace, name)) or _composed(namespace, name)

    def meaning(self, chat_name: str) -> Named:
        """Return which tool a call of a function means."""
        return self._named.get(chat_name) or Named(name=chat_name)

    def choose(self, raw: msgspec.Raw) -> ToolChoice | None:
        """Return what ``tool_choice`` says; ``allowed_tools`` leaves only those. Raises: CallerError."""
        if bytes(raw)[:1] == b'"':
            mode = read_member("tool_choice", raw, _decode_mode)
            return ToolChoice(mode=mode) if self.tools else None
        choice = read_member("tool_choice", raw, _decode_choice)
        if choice.type == "allowed_tools":
            allowed = {self._find(tool, f"tool_choice.tools.{at}") for at, tool in enumerate(choice.tools)}
            self.tools = [tool for tool in self.tools if tool.name in allowed]
            return ToolChoice(mode=choice.mode) if self.tools else None
        return ToolChoice(mode="function", name=self._find(choice, "tool_choice"))

    def _find(self, choice: _Choice, where: str) -> str:
        """Return the function that a choice names."""
        if choice.type not in ("function", "custom"):
            raise CallerError(
                f"{where}.type: {choice.type[:100]!r} cannot be chosen; expected function, custom or allowed_tools",
                param=f"{where}.type",
            )
        chat_name = self._choosable.get((choice.namespace, choice.name or ""))
        if chat_name is not None:
            return chat_name
        raise CallerError(
            f"{where}.name: there is no tool {(choice.name or '')[:100]!r} in tools", param=f"{where}.name"
        )

    def _add_declared(self, raw: msgspec.Raw, where: str, space: _Namespace | None) -> None:
        is_custom = read_tag(raw, where).type == "custom"
        declared = read_member(where, raw, _decode_declared)
        if not declared.name:
            raise malformed(f"{where}.name", "expected a name")
        named = Named(name=declared.name, namespace=space.name if space else "", is_custom=is_custom)
        chat_name = self._free(_composed(named.namespace, named.name))
        self._named[chat_name] = named
        self._chat_names.setdefault((named.namespace, named.name), chat_name)
        for namespace in (named.namespace, None):
            self._choosable.setdefault((namespace, named.name), chat_name)
        described = [space.description if space else None, declared.description, _grammar_words(declared.format)]
        self.tools.append(
            Tool(
                name=chat_name,
                description="\n\n".join(words for words in described if words),
                parameters=_INPUT_SCHEMA if is_custom else _schema(declared.parameters, f"{where}.parameters"),
                is_strict=None if is_custom else declared.strict,
            )
        )

    def _free(self, wanted: str) -> str:
        """Return the name, or one like it when it is taken already."""
        name = wanted
        while name in self._named:
            self._taken[wanted] = number = self._taken.get(wanted, 1) + 1
            name = f"{wanted}_{number}"
        return name


def custom_input(arguments: str) -> str:
    """Return the input of a custom tool out of the arguments of the function that stands in for it.

    A model may call the one string something else; what has no single string is passed on as it is.
    """
    found = msgspec.json.decode(arguments)
    values = [value for value in found.values() if isinstance(value, str)] if isinstance(found, dict) else []
    if isinstance(found, dict) and isinstance(found.get("input"), str):
        return str(found["input"])
    return values[0] if len(values) == 1 else arguments


def _composed(namespace: str, name: str) -> str:
    if not namespace:
        return name
    joint = "" if namespace.endswith("__") else "__"
    return _NOT_IN_NAMES.sub("_", f"{namespace}{joint}{name}")


def _schema(raw: msgspec.Raw, where: str) -> msgspec.Raw | None:
    text = bytes(raw)
    if text in (b"", b"null"):
        return None
    if text[:1] != b"{":
        raise malformed(where, "expected a JSON schema, which is an object")
    return raw


def _grammar_words(form: _Grammar | None) -> str:
    if form is None or form.type != "grammar":
        return ""
    return f"The input must follow this {form.syntax or 'lark'} grammar:\n{form.definition}"

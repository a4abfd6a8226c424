"""What each kind of engine takes and how it says things, where engines differ: one table, no ``if`` elsewhere.

Source: ``facts`` on llama.cpp and mistral.rs (2026-10), vLLM's and SGLang's documented request schemas.
"""

from typing import Literal

import msgspec


class EngineTraits(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of engine wants a chat request.

    ``reasoning_switch``: how thinking is switched: ``template`` by ``chat_template_kwargs.enable_thinking``, ``field``
    by ``enable_thinking`` itself, ``effort`` by ``reasoning_effort`` only, ``none`` not at all.
    """

    kind: str
    reasoning_switch: Literal["template", "field", "effort", "none"] = "none"
    budget_field: str = ""
    """Name of the member that bounds thinking; empty: there is none."""
    efforts: tuple[str, ...] = ()
    """What ``reasoning_effort`` may be; empty: it takes none."""
    reasoning_history: str = ""
    """Name of the member in which earlier reasoning is given back; empty: it is dropped."""
    takes_tool_images: bool = False
    """Pictures may stand in a tool's message."""
    takes_null_content: bool = True
    """An assistant's message with calls and no text may have ``null``; else it gets an empty string."""
    dropped_keywords: tuple[str, ...] = ()
    """Keywords of JSON schema that it cannot take."""
    bounds_max_tokens: bool = True
    """A ``max_tokens`` beyond the context is cut by the engine itself; else it refuses the request."""


GENERIC = EngineTraits(kind="")
"""A server of which nothing is known but that it speaks OpenAI chat."""

_TRAITS = {traits.kind: traits for traits in (GENERIC,)}


def traits_of(kind: str) -> EngineTraits:
    """Return the traits of a kind of engine, the generic ones of an unknown one."""
    return _TRAITS.get(kind, GENERIC)

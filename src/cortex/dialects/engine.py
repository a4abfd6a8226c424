"""What each kind of engine takes and how it says things, where engines differ: one table, no ``if`` elsewhere.

``kind`` is that of the neuron's harness entry. What an engine of an unknown kind gets is what OpenAI documents.

Source: llama-server of build 11549, tried 2026-11; mistral.rs 0.9 (``openai.rs``, ``media_source.rs``, read 2026-10);
the request schemas of vLLM 0.8 to 0.31 and of SGLang 0.4 to 0.5 (``protocol.py``, read 2026-11), of which what all of
those versions take.
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
    """What ``reasoning_effort`` may be, the least first; empty: it takes none."""
    reasoning_history: str = ""
    """Name of the member in which earlier reasoning is given back; empty: it is dropped."""
    takes_tool_images: bool = False
    """Pictures may stand in a tool's message."""
    takes_null_content: bool = True
    """An assistant's message with calls and no text may have ``null``; else it gets an empty string."""
    takes_named_choice: bool = True
    """``tool_choice`` may name a function; else that one alone is offered, and some call required."""
    takes_choice_none: bool = True
    """With ``tool_choice`` none it neither calls nor writes down a call; else it is offered no tools then."""
    continues_by_member: bool = False
    """It goes on with an assistant's message that stands last only when ``continue_final_message`` says so."""
    echoes_beginning: bool = False
    """A whole answer that goes on with the assistant's message begins with it anew; a streamed one does not."""
    takes_json_object: bool = True
    """``response_format`` may be ``json_object``; else a schema says as much."""
    dropped_keywords: tuple[str, ...] = ()
    """Keywords of JSON schema that it cannot take in a tool's parameters."""
    takes_boolean_schemas: bool = True
    """``true`` may stand for a schema that allows everything."""
    counting: Literal["", "template", "chat"] = ""
    """How it counts a prompt's tokens: ``template`` by ``/apply-template`` and ``/tokenize``, ``chat`` by ``/tokenize``
    of the chat itself; empty: it does not."""
    bounds_max_tokens: bool = True
    """A ``max_tokens`` beyond the context is cut by the engine itself; else it refuses the request."""
    counts_first_choice: bool = False
    """Its ``usage`` is that of one answer, also where several were asked for; else of all of them."""


GENERIC = EngineTraits(kind="", bounds_max_tokens=False)
"""A server of which nothing is known but that it speaks OpenAI chat."""

_NO_GRAMMAR_FOR = ("$schema", "propertyNames", "format", "pattern")

LLAMACPP = EngineTraits(
    kind="llamacpp",
    counting="template",
    reasoning_switch="template",
    budget_field="thinking_budget_tokens",
    efforts=("none", "low", "medium", "high"),
    reasoning_history="reasoning_content",
    takes_tool_images=True,
    # A function that is named is taken for "auto", and with "none" the call stands in the text (tried).
    takes_named_choice=False,
    takes_choice_none=False,
    echoes_beginning=True,
    dropped_keywords=_NO_GRAMMAR_FOR,
    takes_boolean_schemas=False,
    counts_first_choice=True,
)

MISTRALRS = EngineTraits(
    kind="mistralrs",
    reasoning_switch="field",
    # "none" beside enable_thinking is taken for a contradiction by some versions, and says nothing more.
    efforts=("low", "medium", "high", "xhigh"),
    reasoning_history="reasoning_content",
    takes_null_content=False,
    takes_json_object=False,
    # Its grammars (llguidance) refuse a schema for any keyword that they do not have.
    dropped_keywords=(
        *_NO_GRAMMAR_FOR,
        *("if", "then", "else", "not", "contains", "minContains", "maxContains", "uniqueItems"),
        *("dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems"),
    ),
)

VLLM = EngineTraits(
    kind="vllm",
    counting="chat",
    reasoning_switch="template",
    # A budget (thinking_token_budget) is refused by a server that was not started for it.
    efforts=("low", "medium", "high"),
    reasoning_history="reasoning",
    takes_choice_none=False,
    continues_by_member=True,
    bounds_max_tokens=False,
)

SGLANG = EngineTraits(
    kind="sglang",
    reasoning_switch="template",
    efforts=("low", "medium", "high"),
    reasoning_history="reasoning_content",
    takes_choice_none=False,
    continues_by_member=True,
    bounds_max_tokens=False,
)

_TRAITS = {traits.kind: traits for traits in (GENERIC, LLAMACPP, MISTRALRS, VLLM, SGLANG)}


def traits_of(kind: str) -> EngineTraits:
    """Return the traits of a kind of engine, the generic ones of an unknown one."""
    return _TRAITS.get(kind, GENERIC)

"""What becomes of the members of ``POST /v1/responses``."""

from cortex.dialects.responses_request import MAX_NEEDS
from cortex.dialects.responses_tool import REFUSED
from cortex.dialects.responses_wire import EFFORTS, ENCRYPTED_REASONING
from cortex.gateway.data.reference.anthropic_member import MODEL
from cortex.gateway.data.reference.member import Member, Members
from cortex.gateway.data.reference.shape import ANYTHING, OBJECT, TEXT, WHOLE, either, listed

_TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
_TOLD = "No engine knows it."

RESPONSES: Members = {
    "model": MODEL,
    "input": Member(
        effect="translated",
        about=(
            "Text, or items: messages (`input_text`, `output_text`, `input_image`, `input_file` with text in it), "
            "`reasoning`, `function_call`, `custom_tool_call`, their outputs, `item_reference`, `additional_tools`. "
            f"Items that a chat has no place for are left out. Up to {MAX_NEEDS} pictures by URL and earlier "
            "responses. Required unless `previous_response_id` is there."
        ),
        example="And again?",
        schema=either(TEXT, listed(OBJECT)),
    ),
    "instructions": Member(
        effect="translated",
        about="The system's words. They do not carry over to the next response.",
        example="Be brief.",
    ),
    "previous_response_id": Member(
        effect="done",
        about="The conversation up to that response goes before `input`; it must have been stored here, and still be.",
        example="resp_000000000000000000000001",
    ),
    "stream": Member(effect="translated", about="Not together with `background`.", example=True),
    "store": Member(
        effect="done", about="`false`: nothing is kept. Else it is, for as long as there is room.", example=False
    ),
    "background": Member(
        effect="done",
        about="The answer comes at once and has no output yet: ask for it by its id. Has to be stored.",
        example=True,
    ),
    "max_output_tokens": Member(
        effect="translated", about="Reasoning included.", example=100, schema={**WHOLE, "minimum": 1}
    ),
    "temperature": Member(effect="translated", example=0.5),
    "top_p": Member(effect="translated", example=0.9),
    "presence_penalty": Member(effect="translated", example=0.1),
    "frequency_penalty": Member(effect="translated", example=0.1),
    "tools": Member(
        effect="translated",
        about=(
            "`function`, `custom` and `namespace` of both. `web_search` and other tools that OpenAI's service runs "
            f"are left out, and refused where no other is there. {', '.join(f'`{kind}`' for kind in REFUSED)} are "
            "refused: declare functions instead."
        ),
        example=[_TOOL],
        schema=listed(OBJECT),
    ),
    "tool_choice": Member(
        effect="translated",
        about="`auto`, `none`, `required`, a `function` or `custom` by name, `allowed_tools`.",
        example="required",
        schema=either(TEXT, OBJECT),
    ),
    "parallel_tool_calls": Member(effect="translated", about="`false`: one call is let through.", example=False),
    "reasoning": Member(
        effect="translated",
        about=(
            f"`effort`, one of {', '.join(f'`{effort}`' for effort in EFFORTS)}, in the nearest step that the engine "
            "has; `summary` is told back: what is shown of reasoning is all of it."
        ),
        example={"effort": "none"},
    ),
    "text": Member(
        effect="translated",
        about="`format`: `text`, `json_object`, `json_schema`; `verbosity` is told back.",
        example={"format": {"type": "json_object"}},
    ),
    "include": Member(
        effect="done", about=f"`{ENCRYPTED_REASONING}`; anything else is ignored.", example=[ENCRYPTED_REASONING]
    ),
    "metadata": Member(effect="told", example={"job": "7"}),
    "user": Member(effect="told", example="u"),
    "safety_identifier": Member(effect="told", example="u"),
    "prompt_cache_key": Member(effect="told", about="Engines keep prompts by themselves.", example="k"),
    "max_tool_calls": Member(effect="told", about=_TOLD, example=3),
    "top_logprobs": Member(
        effect="told", about="No logprobs are given; a line in the gateway's log says so.", example=5
    ),
    "conversation": Member(
        effect="refused",
        about="Conversations are not kept here: use `previous_response_id`.",
        example="conv_1",
        schema=ANYTHING,
    ),
    "prompt": Member(
        effect="refused", about="There are no stored prompts here.", example={"id": "pmpt_1"}, schema=ANYTHING
    ),
    "truncation": Member(
        effect="ignored",
        about="What is too long is refused, and the answer says `disabled`.",
        example="auto",
        schema=TEXT,
    ),
    "service_tier": Member(effect="ignored", about="The answer says `default`.", example="flex", schema=TEXT),
    "stream_options": Member(effect="ignored", example={"include_obfuscation": False}, schema=OBJECT),
    "background_options": Member(effect="ignored", example={"a": 1}, schema=ANYTHING),
    "context_management": Member(effect="ignored", example=[], schema=ANYTHING),
    "prompt_cache_options": Member(effect="ignored", example={"a": 1}, schema=ANYTHING),
    "prompt_cache_retention": Member(effect="ignored", example="24h", schema=TEXT),
    "moderation": Member(effect="ignored", example={"a": 1}, schema=ANYTHING),
    "access_programs": Member(effect="ignored", example=["a"], schema=ANYTHING),
    "image": Member(effect="ignored", example={"a": 1}, schema=ANYTHING),
}

"""What becomes of the members of ``POST /v1/messages`` and of ``POST /v1/messages/count_tokens``."""

from msgspec.structs import replace

from cortex.dialects.anthropic_request import MAX_FETCHED_IMAGES
from cortex.dialects.openai_request import MAX_MODEL_CHARS
from cortex.gateway.data.reference.member import Member, Members
from cortex.gateway.data.reference.shape import ANYTHING, OBJECT, TEXT, WHOLE, listed

_TOOL = {"name": "weather", "description": "Tells it.", "input_schema": {"type": "object", "properties": {}}}

MODEL = Member(
    effect="read",
    about="Id or alias of a model, as `GET /v1/models` lists them; the answer repeats it as it was sent.",
    example="coder",
    schema={**TEXT, "minLength": 1, "maxLength": MAX_MODEL_CHARS},
    is_required=True,
)

MESSAGES: Members = {
    "model": MODEL,
    "messages": Member(
        effect="translated",
        about=(
            "The conversation; roles `user`, `assistant`, `system`. Blocks of a user: `text`, `image` (`base64`, "
            "`url`), `document` (`text`, `content`), `search_result`, `tool_result`; others are 400, but what a "
            "tool gave and cannot be read is left out with a word to the model. Of an assistant's, "
            f"`redacted_thinking` and what a service's own tools made are left out. Up to {MAX_FETCHED_IMAGES} "
            "pictures by URL are fetched by the gateway. One that ends with an assistant's turn is gone on with."
        ),
        example=[{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi"}],
        is_required=True,
    ),
    "max_tokens": Member(
        effect="translated",
        about="At least 1. An engine that refuses more than its context has is asked for what there is room for.",
        example=100,
        schema={**WHOLE, "minimum": 1},
        is_required=True,
    ),
    "system": Member(effect="translated", about="Text, or blocks of text.", example="Be brief."),
    "stream": Member(effect="translated", example=True),
    "stop_sequences": Member(effect="translated", example=["END"]),
    "temperature": Member(effect="translated", example=0.5),
    "top_p": Member(effect="translated", example=0.9),
    "top_k": Member(effect="translated", example=40),
    "tools": Member(
        effect="translated",
        about=(
            "Tools with an `input_schema`. Those that Anthropic's service runs (`web_search_…`, `code_execution_…`) "
            "are left out, and refused where no other is there or one is demanded; `bash_…`, `text_editor_…` and "
            "`computer_…` without a schema of their own are refused."
        ),
        example=[_TOOL],
    ),
    "tool_choice": Member(
        effect="translated",
        about="`auto`, `any`, `none`, `tool`; with `disable_parallel_tool_use` one call is let through.",
        example={"type": "any"},
    ),
    "thinking": Member(
        effect="translated",
        about=(
            "Without it, or `disabled`, a model is told not to think, and what it thinks all the same is dropped. "
            "`budget_tokens` where the engine has a bound; with `display: omitted` thinking comes as a signature only."
        ),
        example={"type": "enabled", "budget_tokens": 2048},
    ),
    "output_config": Member(
        effect="translated",
        about="`effort`, in the nearest step that the engine has, and `format` with a JSON schema.",
        example={"format": {"type": "json_schema", "schema": {"type": "object"}}},
    ),
    "output_format": Member(
        effect="translated",
        about="The older place of `output_config.format`.",
        example={"type": "json_schema", "schema": {"type": "object"}},
    ),
    "mcp_servers": Member(
        effect="refused",
        about="Unless empty: connect the client to them, and send their tools.",
        example=[{"type": "url", "name": "x", "url": "https://mcp.example"}],
    ),
    "thread": Member(
        effect="refused",
        about="Conversations are not kept here; Anthropic's SDKs go on without by themselves.",
        example={"id": "thread_1"},
        schema=ANYTHING,
    ),
    "cache_control": Member(
        effect="ignored",
        about="Here and in blocks: engines keep prompts by themselves.",
        example={"type": "ephemeral"},
        schema=OBJECT,
    ),
    "metadata": Member(effect="ignored", example={"user_id": "u"}, schema=OBJECT),
    "service_tier": Member(effect="ignored", example="auto", schema=TEXT),
    "speed": Member(effect="ignored", example="fast", schema=TEXT),
    "container": Member(effect="ignored", example="container_1", schema=ANYTHING),
    "context_management": Member(effect="ignored", example={"edits": []}, schema=OBJECT),
    "compaction": Member(effect="ignored", example={"type": "auto"}, schema=ANYTHING),
    "diagnostics": Member(effect="ignored", example={"a": 1}, schema=ANYTHING),
    "billing_policy": Member(effect="ignored", example="a", schema=ANYTHING),
    "fallbacks": Member(effect="ignored", example=["other"], schema=listed(ANYTHING)),
    "fallback_credit_token": Member(effect="ignored", example="a", schema=TEXT),
    "inference_geo": Member(effect="ignored", example="eu", schema=TEXT),
    "user_profile_id": Member(effect="ignored", example="a", schema=TEXT),
    "workspace_id": Member(effect="ignored", example="a", schema=TEXT),
}

_NOT_COUNTED = {
    name: replace(MESSAGES[name], effect="ignored", about="", is_required=False) for name in ("max_tokens", "stream")
}

COUNT_TOKENS: Members = {**MESSAGES, **_NOT_COUNTED}

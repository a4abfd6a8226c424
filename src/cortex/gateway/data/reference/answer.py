"""What answers look like. Those that engines give are passed on as they are, so of these only the frame is told.

Tests hold the others to what is really answered, member by member.
"""

from cortex.contract.instance import BEST_FIRST
from cortex.gateway.data.reference.shape import (
    ANYTHING,
    FLAG,
    NUMBER,
    OBJECT,
    TEXT,
    WHOLE,
    Schema,
    listed,
    noted,
    nullable,
    one_of,
    ref,
    shape,
)

_STATUS = noted(one_of(*BEST_FIRST), "Of all nodes the best.")
_AS_ENGINE = "As the engine writes it; other members are passed on too."
_COUNTS = {"prompt_tokens": WHOLE, "completion_tokens": WHOLE, "total_tokens": WHOLE}
_EPOCH = noted(WHOLE, "UTC epoch seconds.")
_NANOSECONDS = noted(WHOLE, "Nanoseconds.")

_GATEWAY: dict[str, Schema] = {
    "Greeting": shape("What is here.", {"name": TEXT, "version": TEXT, "api": TEXT, "models": TEXT}),
    "Alive": shape("The process answers.", {"status": one_of("ok")}),
    "Ready": shape(
        "Whether requests should be sent here.",
        {"status": noted(one_of("ok", "starting", "stopping"), "Only `ok` comes with 200.")},
    ),
    "FleetHealth": shape(
        "How the nodes are.",
        {
            "status": noted(
                one_of("ok", "degraded", "down"),
                "`ok`: every node is healthy and has no trouble; `down`: none is healthy, and the status is 503.",
            ),
            "nodes": listed(ref("NodeHealth")),
        },
    ),
    "NodeHealth": shape(
        "One node.",
        {
            "name": TEXT,
            "healthy": FLAG,
            "why": noted(TEXT, "Why it is not healthy; else empty."),
            "troubles": noted(listed(TEXT), "What is wrong with it all the same, in sentences."),
            "models": noted(listed(TEXT), "Ids of the models that are loaded."),
            "devices": listed(ref("NodeDevice")),
        },
    ),
    "NodeDevice": shape(
        "A device as it was last sampled.",
        {
            "index": WHOLE,
            "name": TEXT,
            "vram_total_mb": noted(WHOLE, "MiB."),
            "vram_used_mb": noted(nullable(WHOLE), "MiB."),
            "utilization_pct": noted(nullable(NUMBER), "Percent."),
        },
    ),
    "ModelList": shape(
        (
            "All models of the fleet, loaded or not, or those that the key may ask for; it reads as OpenAI's and as "
            "Anthropic's."
        ),
        {
            "object": one_of("list"),
            "data": listed(ref("Model")),
            "has_more": FLAG,
            "first_id": nullable(TEXT),
            "last_id": nullable(TEXT),
        },
    ),
    "Model": shape(
        "One model.",
        {
            "id": TEXT,
            "object": one_of("model"),
            "type": one_of("model"),
            "created": noted(WHOLE, "When the gateway started, in UTC epoch seconds."),
            "created_at": noted(TEXT, "The same, as RFC 3339."),
            "owned_by": one_of("cortex"),
            "display_name": TEXT,
            "lifecycle": one_of("active"),
            "max_input_tokens": noted(nullable(WHOLE), "As `context`."),
            "max_tokens": noted(nullable(WHOLE), "As `context`."),
            "features": noted(listed(TEXT), "`capabilities` of the catalogue."),
            "status": _STATUS,
            "nodes": listed(ref("ModelPlace")),
            "context": noted(
                nullable(WHOLE), "Tokens that a request may have, its answer included; null: nobody knows."
            ),
            "aliases": listed(TEXT),
            "harness": noted(TEXT, "The harness that runs it; empty: nobody knows."),
        },
    ),
    "ModelPlace": shape(
        "How a model is on one node.",
        {"node": TEXT, "status": one_of(*BEST_FIRST), "devices": noted(listed(WHOLE), "Their indices.")},
    ),
}

_OPENAI: dict[str, Schema] = {
    "TokenUsage": shape("Tokens.", {}, _COUNTS),
    "ChatCompletion": shape(
        _AS_ENGINE,
        {"choices": listed(OBJECT)},
        {"id": TEXT, "object": TEXT, "created": _EPOCH, "model": TEXT, "usage": ref("TokenUsage")},
    ),
    "EmbeddingList": shape(
        _AS_ENGINE, {"data": listed(OBJECT)}, {"object": TEXT, "model": TEXT, "usage": ref("TokenUsage")}
    ),
    "EngineAnswer": noted(OBJECT, "As the engine writes it."),
}

_ANTHROPIC: dict[str, Schema] = {
    "AnthropicMessage": shape(
        "The answer.",
        {
            "id": TEXT,
            "type": one_of("message"),
            "role": one_of("assistant"),
            "model": noted(TEXT, "As the request named it."),
            "content": noted(
                listed(ref("AnthropicAnswerBlock")), "In the order in which they were said; none is empty."
            ),
            "stop_reason": one_of(
                *("end_turn", "max_tokens", "model_context_window_exceeded", "refusal", "stop_sequence", "tool_use")
            ),
            "stop_sequence": nullable(TEXT),
            "usage": ref("AnthropicUsage"),
        },
        {"stop_details": noted(OBJECT, "With `refusal`.")},
    ),
    "AnthropicAnswerBlock": shape(
        "Text, thinking or a call.",
        {"type": one_of("text", "thinking", "tool_use")},
        {
            "text": TEXT,
            "thinking": TEXT,
            "signature": noted(TEXT, "Makes the gateway's own thinking recognisable; it proves nothing."),
            "id": TEXT,
            "name": TEXT,
            "input": OBJECT,
        },
    ),
    "AnthropicUsage": shape(
        "Tokens; what the engine did not say is 0.",
        {
            "input_tokens": noted(WHOLE, "Without those that came from the engine's cache."),
            "cache_creation_input_tokens": WHOLE,
            "cache_read_input_tokens": WHOLE,
            "output_tokens": WHOLE,
        },
        {"output_tokens_details": shape("Part of them.", {"thinking_tokens": WHOLE})},
    ),
    "TokenCount": shape("How long the prompt is.", {"input_tokens": WHOLE}),
}

_RESPONSES: dict[str, Schema] = {
    "Response": shape(
        "OpenAI's object. What was asked is told back as it was said; what an engine decides by itself is null.",
        {
            "id": TEXT,
            "object": one_of("response"),
            "created_at": _EPOCH,
            "status": one_of("queued", "in_progress", "completed", "incomplete", "failed", "cancelled"),
            "completed_at": noted(nullable(WHOLE), "UTC epoch seconds."),
            "background": FLAG,
            "error": noted(nullable(OBJECT), "`code`, `message`, `param`, `type` of one that failed."),
            "incomplete_details": noted(nullable(OBJECT), "`reason`: `max_output_tokens` or `content_filter`."),
            "instructions": nullable(TEXT),
            "max_output_tokens": nullable(WHOLE),
            "max_tool_calls": nullable(WHOLE),
            "model": noted(TEXT, "As the request named it."),
            "output": noted(listed(OBJECT), "Items: `message`, `reasoning`, `function_call`, `custom_tool_call`."),
            "parallel_tool_calls": FLAG,
            "previous_response_id": nullable(TEXT),
            "prompt_cache_key": nullable(TEXT),
            "reasoning": OBJECT,
            "safety_identifier": nullable(TEXT),
            "service_tier": one_of("default"),
            "store": FLAG,
            "temperature": nullable(NUMBER),
            "text": OBJECT,
            "tool_choice": ANYTHING,
            "tools": listed(OBJECT),
            "top_logprobs": WHOLE,
            "top_p": nullable(NUMBER),
            "truncation": one_of("disabled"),
            "usage": nullable(ref("ResponseUsage")),
            "user": nullable(TEXT),
            "metadata": OBJECT,
        },
    ),
    "ResponseUsage": shape(
        "Tokens.",
        {
            "input_tokens": WHOLE,
            "input_tokens_details": OBJECT,
            "output_tokens": WHOLE,
            "output_tokens_details": OBJECT,
            "total_tokens": WHOLE,
        },
    ),
    "DeletedResponse": shape("It is gone.", {"id": TEXT, "object": one_of("response"), "deleted": FLAG}),
    "InputItemList": shape(
        "What led to a response.",
        {
            "object": one_of("list"),
            "data": listed(OBJECT),
            "first_id": nullable(TEXT),
            "last_id": nullable(TEXT),
            "has_more": FLAG,
        },
    ),
}

_SPOKEN = {"model": TEXT, "done": FLAG}
_BESIDE_TEXT = {
    "created_at": noted(TEXT, "RFC 3339; in all but signs of life."),
    "done_reason": noted(one_of("load", "length", "stop"), "`load`: nothing was asked but to load the model."),
    "total_duration": _NANOSECONDS,
    "load_duration": noted(WHOLE, "Nanoseconds until the request went to the engine: loading, waiting for a place."),
    "prompt_eval_count": WHOLE,
    "prompt_eval_duration": _NANOSECONDS,
    "eval_count": WHOLE,
    "eval_duration": _NANOSECONDS,
}
_LISTED = {
    "name": TEXT,
    "model": TEXT,
    "size": noted(WHOLE, "Always 0: nobody knows."),
    "digest": noted(TEXT, "Tells models apart; it says nothing of their weights."),
    "details": noted(OBJECT, "Ollama's members, empty."),
}
_BESIDE = {
    "status": _STATUS,
    "nodes": listed(ref("ModelPlace")),
    "capabilities": noted(
        listed(TEXT), "In Ollama's words: `completion`, `tools`, `vision`, `thinking`, `embedding`, …"
    ),
}

_OLLAMA: dict[str, Schema] = {
    "OllamaChatAnswer": shape(
        "The answer, or in a stream a piece of it.",
        {**_SPOKEN, "message": ref("OllamaAnswerMessage")},
        {**_BESIDE_TEXT, "status": noted(TEXT, "In a sign of life: what the request waits for.")},
    ),
    "OllamaAnswerMessage": shape(
        "What the model says.",
        {"role": one_of("assistant"), "content": TEXT},
        {"thinking": TEXT, "tool_calls": listed(OBJECT)},
    ),
    "OllamaGenerateAnswer": shape(
        "The answer, or in a stream a piece of it.",
        {**_SPOKEN, "response": TEXT},
        {
            "thinking": TEXT,
            "tool_calls": listed(OBJECT),
            **_BESIDE_TEXT,
            "status": noted(TEXT, "In a sign of life: what the request waits for."),
        },
    ),
    "OllamaEmbedAnswer": shape(
        "One vector for each text.",
        {"model": TEXT, "embeddings": listed(listed(NUMBER))},
        {"total_duration": _NANOSECONDS, "load_duration": _NANOSECONDS, "prompt_eval_count": WHOLE},
    ),
    "OllamaEmbeddingsAnswer": shape("One vector.", {"embedding": listed(NUMBER)}),
    "OllamaModelList": shape("All models, loaded or not.", {"models": listed(ref("OllamaModel"))}),
    "OllamaModel": shape("One model.", {**_LISTED, "modified_at": noted(TEXT, "When the gateway started."), **_BESIDE}),
    "OllamaRunningList": shape("The models that are loaded.", {"models": listed(ref("OllamaRunningModel"))}),
    "OllamaRunningModel": shape(
        "One of them.",
        {
            **_LISTED,
            "expires_at": noted(TEXT, "Far away: a model goes when its room is needed."),
            "size_vram": noted(WHOLE, "Always 0."),
            "context_length": noted(WHOLE, "0: nobody knows."),
            **_BESIDE,
        },
    ),
    "OllamaModelPage": shape(
        "One model.",
        {
            "modelfile": TEXT,
            "parameters": TEXT,
            "template": TEXT,
            "details": OBJECT,
            "model_info": noted(OBJECT, "`unknown.context_length` is there where it is known."),
            "modified_at": TEXT,
            **_BESIDE,
        },
    ),
    "OllamaVersion": shape("The version of Ollama that is imitated.", {"version": TEXT, "cortex": TEXT}),
}

ANSWERS = {**_GATEWAY, **_OPENAI, **_ANTHROPIC, **_RESPONSES, **_OLLAMA}
"""Schemas of answers by their names."""

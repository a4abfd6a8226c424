"""The operations of the API: what the table of routes has, and the pages beside it, with the words for each."""

from collections.abc import Iterator

import msgspec

from cortex.contract import error as e
from cortex.dialects.anthropic import ANTHROPIC
from cortex.dialects.interface import Dialect
from cortex.dialects.model_list import MAX_LIMIT
from cortex.dialects.ollama import OLLAMA_CHAT
from cortex.dialects.openai import OPENAI
from cortex.dialects.responses import RESPONSES
from cortex.gateway.data.reference.shape import ANYTHING, TEXT, WHOLE, Schema, noted, one_of
from cortex.gateway.data.response_page import DEFAULT_ITEMS, MOST_ITEMS
from cortex.gateway.data.route import INFERENCE, InferenceRoute

Errors = tuple[type[e.CortexError], ...]

_ANY_PAGE: Errors = (e.Unauthorized, e.Forbidden, e.StoreUnavailable)
_READS: Errors = (e.MalformedRequest, *_ANY_PAGE, e.KeyForbidden, e.ModelNotFound, e.BodyTooLarge, e.NoHealthyNode)
_KEPT: Errors = (*_ANY_PAGE, e.ResponseNotFound)


class Words(msgspec.Struct, frozen=True):
    """What is said of a path of the table of routes. ``answer`` and ``body`` are names of schemas."""

    name: str
    tag: str
    summary: str
    body: str
    answer: str = "EngineAnswer"


WORDS = {
    "/v1/chat/completions": Words("create_chat", "OpenAI", "Chat.", "ChatRequest", "ChatCompletion"),
    "/v1/completions": Words(
        "create_completion", "OpenAI", "Go on with a text.", "CompletionRequest", "ChatCompletion"
    ),
    "/v1/embeddings": Words("create_embeddings", "OpenAI", "Embed texts.", "EmbeddingRequest", "EmbeddingList"),
    "/v1/rerank": Words("rerank", "Engines", "Order documents by a query.", "RerankRequest"),
    "/v1/audio/speech": Words("create_speech", "OpenAI", "Speak a text.", "SpeechRequest", ""),
    "/v1/audio/transcriptions": Words("create_transcription", "OpenAI", "Write down speech.", "TranscriptionForm"),
    "/v1/audio/translations": Words("create_translation", "OpenAI", "Write down speech in English.", "TranslationForm"),
    "/v1/images/generations": Words("create_image", "OpenAI", "Make pictures.", "ImageRequest"),
    "/v1/images/edits": Words("edit_image", "OpenAI", "Change a picture.", "ImageEditForm"),
    "/v1/images/variations": Words("vary_image", "OpenAI", "Make pictures like one.", "ImageVariationForm"),
    "/tokenize": Words("tokenize", "Engines", "Cut a text into tokens.", "TokenizeRequest"),
    "/infill": Words("infill", "Engines", "Write what stands between two pieces of code.", "InfillRequest"),
    "/v1/responses": Words("create_response", "Responses", "Answer, and keep it.", "ResponseRequest", "Response"),
    "/v1/messages": Words("create_message", "Anthropic", "Answer a message.", "MessageRequest", "AnthropicMessage"),
    "/api/chat": Words("ollama_chat", "Ollama", "Chat.", "OllamaChatRequest", "OllamaChatAnswer"),
    "/api/generate": Words(
        "ollama_generate", "Ollama", "Answer a prompt.", "OllamaGenerateRequest", "OllamaGenerateAnswer"
    ),
    "/api/embed": Words("ollama_embed", "Ollama", "Embed texts.", "OllamaEmbedRequest", "OllamaEmbedAnswer"),
    "/api/embeddings": Words(
        "ollama_embeddings", "Ollama", "Embed a text.", "OllamaEmbeddingsRequest", "OllamaEmbeddingsAnswer"
    ),
}
"""By path; every route of the table has them."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation.

    ``route``: its row in the table of routes, where it has one. ``errors``: those that it may be answered with besides
    a defect of ours, for an operation without a row. ``query``: schemas of its parameters.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    about: str = ""
    dialect: Dialect = OPENAI
    route: InferenceRoute | None = None
    query: dict[str, Schema] = {}
    body: str = ""
    answer: str = ""
    """Name of a schema; empty: what is answered is no JSON."""
    media: str = "application/json"
    headers: tuple[str, ...] = ()
    errors: Errors = _ANY_PAGE
    other_statuses: dict[int, str] = {}
    """Statuses that come with the same answer, and what they say."""
    is_open: bool = False
    is_on_metrics_door: bool = False


_ID_ABOUT = "The id may have slashes, raw or as `%2F`, and may be an alias."
_PAGING = {
    "limit": noted({**WHOLE, "minimum": 1, "maximum": MAX_LIMIT}, "Without it all of them."),
    "after_id": noted(TEXT, "Only what comes after this one."),
    "before_id": noted(TEXT, "Only what comes before this one."),
}
_ITEM_PAGING = {
    "limit": {**WHOLE, "minimum": 1, "maximum": MOST_ITEMS, "default": DEFAULT_ITEMS},
    "order": {**one_of("asc", "desc"), "default": "desc"},
    "after": noted(TEXT, "Only what comes after this one."),
}

_PAGES = (
    Operation(
        method="GET",
        path="/v1/models",
        name="list_models",
        tag="Models",
        summary="List the models, loaded or not.",
        about="Reads as OpenAI's list and, paged by `limit`, `after_id` and `before_id`, as Anthropic's.",
        query=_PAGING,
        answer="ModelList",
        errors=(*_ANY_PAGE, e.MalformedRequest),
    ),
    Operation(
        method="GET",
        path="/v1/models/{id}",
        name="get_model",
        tag="Models",
        summary="Describe a model.",
        about=_ID_ABOUT,
        answer="Model",
        errors=(*_ANY_PAGE, e.MalformedRequest, e.ModelNotFound, e.NoHealthyNode),
    ),
    Operation(
        method="POST",
        path="/v1/messages/count_tokens",
        name="count_tokens",
        tag="Anthropic",
        summary="Count the tokens of a message.",
        about=(
            "The engine's own tokenizer counts what it would be sent. Nothing is loaded for it, and no place is "
            "taken: of a model that is not loaded, whose engine cannot count, or with pictures the number is an "
            "estimate."
        ),
        dialect=ANTHROPIC,
        body="CountRequest",
        answer="TokenCount",
        headers=("x-cortex-token-count",),
        errors=(*_READS, e.ThreadUnsupported),
    ),
    Operation(
        method="GET",
        path="/v1/responses/{id}",
        name="get_response",
        tag="Responses",
        summary="Return a response that is kept.",
        about="How one in the background is doing is found out so.",
        dialect=RESPONSES,
        query={
            "stream": noted({"type": "boolean", "default": False}, "`true` is refused: it is told of whole."),
            "include": noted(ANYTHING, "Not heeded."),
            "starting_after": noted(WHOLE, "Not heeded."),
            "include_obfuscation": noted(ANYTHING, "Not heeded."),
        },
        answer="Response",
        errors=(*_KEPT, e.CallerError),
    ),
    Operation(
        method="DELETE",
        path="/v1/responses/{id}",
        name="delete_response",
        tag="Responses",
        summary="Forget a response, and end it if it is running.",
        dialect=RESPONSES,
        answer="DeletedResponse",
        errors=_KEPT,
    ),
    Operation(
        method="POST",
        path="/v1/responses/{id}/cancel",
        name="cancel_response",
        tag="Responses",
        summary="Cancel a response in the background.",
        about="One that has its end already is told of as it is.",
        dialect=RESPONSES,
        answer="Response",
        errors=(*_KEPT, e.CallerError),
    ),
    Operation(
        method="GET",
        path="/v1/responses/{id}/input_items",
        name="list_input_items",
        tag="Responses",
        summary="List what led to a response.",
        dialect=RESPONSES,
        query={**_ITEM_PAGING, "include": noted(ANYTHING, "Not heeded.")},
        answer="InputItemList",
        errors=(*_KEPT, e.MalformedRequest),
    ),
    Operation(
        method="GET",
        path="/api/tags",
        name="ollama_tags",
        tag="Ollama",
        summary="List the models, loaded or not.",
        dialect=OLLAMA_CHAT,
        answer="OllamaModelList",
    ),
    Operation(
        method="GET",
        path="/api/ps",
        name="ollama_ps",
        tag="Ollama",
        summary="List the models that are loaded.",
        dialect=OLLAMA_CHAT,
        answer="OllamaRunningList",
    ),
    Operation(
        method="POST",
        path="/api/show",
        name="ollama_show",
        tag="Ollama",
        summary="Describe a model.",
        dialect=OLLAMA_CHAT,
        body="OllamaShowRequest",
        answer="OllamaModelPage",
        errors=(*_READS, e.ModelMissing),
    ),
    Operation(
        method="GET",
        path="/api/version",
        name="ollama_version",
        tag="Ollama",
        summary="Tell the version of Ollama that is imitated.",
        dialect=OLLAMA_CHAT,
        answer="OllamaVersion",
    ),
    Operation(
        method="GET",
        path="/",
        name="get_root",
        tag="Gateway",
        summary="Say what is here.",
        about="Who would rather have HTML is sent to the dashboard.",
        answer="Greeting",
    ),
    Operation(
        method="GET",
        path="/health",
        name="get_health",
        tag="Gateway",
        summary="Tell how the nodes are.",
        answer="FleetHealth",
        other_statuses={503: "No node is healthy."},
        is_open=True,
    ),
    Operation(
        method="GET",
        path="/livez",
        name="get_livez",
        tag="Gateway",
        summary="Tell that the process answers.",
        answer="Alive",
        is_open=True,
    ),
    Operation(
        method="GET",
        path="/readyz",
        name="get_readyz",
        tag="Gateway",
        summary="Tell whether requests should be sent here.",
        about="Every node was asked once, and nobody is stopping the gateway.",
        answer="Ready",
        other_statuses={503: "Not now."},
        is_open=True,
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        name="get_openapi",
        tag="Gateway",
        summary="This document.",
        about="Whoever may use the API may read it. The admin API has its own, `/admin/v1/openapi.json`.",
        answer="",
        media="application/json",
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="get_metrics",
        tag="Gateway",
        summary="Figures for Prometheus.",
        about="On a door of its own, `metrics_listen`, for callers from `trusted_networks`; it asks for no key.",
        media="text/plain",
        errors=(e.Forbidden,),
        is_open=True,
        is_on_metrics_door=True,
    ),
)


def operations() -> Iterator[Operation]:
    """Yield all of them, those of the table of routes first."""
    for path, route in INFERENCE.items():
        words = WORDS[path.decode()]
        yield Operation(
            method="POST",
            path=path.decode(),
            name=words.name,
            tag=words.tag,
            summary=words.summary,
            dialect=route.dialect,
            route=route,
            body=words.body,
            answer=words.answer,
            media="application/json" if words.answer else "audio/*",
        )
    yield from _PAGES

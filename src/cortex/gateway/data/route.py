"""Which inference paths are relayed and what is particular to each. Data, no behaviour."""

import msgspec

from cortex.dialects.anthropic import ANTHROPIC
from cortex.dialects.interface import Dialect
from cortex.dialects.ollama import OLLAMA_CHAT, OLLAMA_GENERATE
from cortex.dialects.ollama_embed import OLLAMA_EMBED, OLLAMA_EMBEDDINGS
from cortex.dialects.openai import OPENAI
from cortex.dialects.responses import RESPONSES


class InferenceRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One path whose requests engines answer.

    ``dialect``: how the caller speaks; ``engine_path``: where the engine is asked, None for the same path.
    ``ends_with_done``: a stream without ``data: [DONE]`` is broken. ``counts_usage``: ``stream_options.include_usage``
    is understood. ``is_upload``: the body may be multipart and is streamed, not held.
    """

    path: bytes
    operation: str
    ends_with_done: bool = False
    counts_usage: bool = False
    is_upload: bool = False
    dialect: Dialect = OPENAI
    engine_path: bytes | None = None


_CHAT = b"/v1/chat/completions"
_EMBEDDINGS = b"/v1/embeddings"

_ROUTES = (
    InferenceRoute(path=_CHAT, operation="chat", ends_with_done=True, counts_usage=True),
    InferenceRoute(path=b"/v1/completions", operation="text_completion", ends_with_done=True, counts_usage=True),
    InferenceRoute(
        path=b"/v1/messages", operation="messages", dialect=ANTHROPIC, engine_path=_CHAT, ends_with_done=True
    ),
    InferenceRoute(
        path=b"/v1/responses", operation="responses", dialect=RESPONSES, engine_path=_CHAT, ends_with_done=True
    ),
    InferenceRoute(path=b"/api/chat", operation="chat", dialect=OLLAMA_CHAT, engine_path=_CHAT, ends_with_done=True),
    InferenceRoute(
        path=b"/api/generate", operation="generate", dialect=OLLAMA_GENERATE, engine_path=_CHAT, ends_with_done=True
    ),
    InferenceRoute(path=b"/api/embed", operation="embeddings", dialect=OLLAMA_EMBED, engine_path=_EMBEDDINGS),
    InferenceRoute(path=b"/api/embeddings", operation="embeddings", dialect=OLLAMA_EMBEDDINGS, engine_path=_EMBEDDINGS),
    InferenceRoute(path=_EMBEDDINGS, operation="embeddings"),
    InferenceRoute(path=b"/v1/rerank", operation="rerank"),
    InferenceRoute(path=b"/v1/audio/speech", operation="speech"),
    InferenceRoute(path=b"/v1/audio/transcriptions", operation="transcription", is_upload=True),
    InferenceRoute(path=b"/v1/audio/translations", operation="translation", is_upload=True),
    InferenceRoute(path=b"/v1/images/generations", operation="image_generation"),
    InferenceRoute(path=b"/v1/images/edits", operation="image_edit", is_upload=True),
    InferenceRoute(path=b"/v1/images/variations", operation="image_variation", is_upload=True),
    InferenceRoute(path=b"/tokenize", operation="tokenize"),
    InferenceRoute(path=b"/infill", operation="infill"),
)

INFERENCE = {route.path: route for route in _ROUTES}

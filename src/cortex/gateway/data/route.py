"""Which inference paths are relayed and what is particular to each. Data, no behaviour."""

import msgspec

from cortex.dialects.interface import Dialect
from cortex.dialects.openai import OPENAI


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


_ROUTES = (
    InferenceRoute(path=b"/v1/chat/completions", operation="chat", ends_with_done=True, counts_usage=True),
    InferenceRoute(path=b"/v1/completions", operation="text_completion", ends_with_done=True, counts_usage=True),
    InferenceRoute(path=b"/v1/embeddings", operation="embeddings"),
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

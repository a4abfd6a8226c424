"""What becomes of the members of requests that engines take as they are: OpenAI's, and those of llama.cpp and others.

The gateway reads the few that it must know; every other one, named here or not, is passed on byte by byte.
"""

from collections.abc import Mapping

from cortex.dialects.openai_request import MAX_MODEL_CHARS
from cortex.gateway.data.reference.member import Member, Members
from cortex.gateway.data.reference.shape import ANYTHING, FLAG, NUMBER, OBJECT, TEXT, WHOLE, Schema, either, listed

_BOUND = "Counted for limits and for finding a place; where there are several such bounds, the most counts."
_CHOICES = "So many answers are counted for limits."

MODEL = Member(
    effect="read",
    about="Id or alias of a model. Where its engine calls it otherwise, the name is rewritten there and back.",
    example="coder",
    schema={**TEXT, "minLength": 1, "maxLength": MAX_MODEL_CHARS},
    is_required=True,
)
_STREAM: Members = {
    "stream": Member(effect="read", example=True, schema=FLAG),
    "stream_options": Member(
        effect="read",
        about=(
            "In a stream `include_usage` is switched on for the engine, so that tokens are counted; a client that "
            "did not ask for it does not see it."
        ),
        example={"include_usage": True},
        schema=OBJECT,
    ),
}
_BOUNDS: Members = {
    "max_tokens": Member(effect="read", about=_BOUND, example=200, schema=WHOLE),
    "n_predict": Member(effect="read", about=f"llama.cpp's word. {_BOUND}", example=200, schema=WHOLE),
    "n": Member(effect="read", about=_CHOICES, example=2, schema=WHOLE),
    "n_cmpl": Member(effect="read", about=f"llama.cpp's word. {_CHOICES}", example=2, schema=WHOLE),
}


def _passed(**schemas: Schema) -> dict[str, Member]:
    return {name: Member(effect="passed", schema=schema) for name, schema in schemas.items()}


_SAMPLING = _passed(
    temperature=NUMBER,
    top_p=NUMBER,
    presence_penalty=NUMBER,
    frequency_penalty=NUMBER,
    seed=WHOLE,
    stop=either(TEXT, listed(TEXT)),
    logit_bias=OBJECT,
    user=TEXT,
)

CHAT: Members = {
    "model": MODEL,
    "messages": Member(effect="passed", schema=listed(OBJECT), is_required=True),
    **_STREAM,
    **_BOUNDS,
    "max_completion_tokens": Member(effect="read", about=_BOUND, example=200, schema=WHOLE),
    "best_of": Member(effect="read", about=_CHOICES, example=2, schema=WHOLE),
    **_SAMPLING,
    **_passed(
        tools=listed(OBJECT),
        tool_choice=either(TEXT, OBJECT),
        parallel_tool_calls=FLAG,
        functions=listed(OBJECT),
        function_call=either(TEXT, OBJECT),
        response_format=OBJECT,
        reasoning_effort=TEXT,
        verbosity=TEXT,
        logprobs=FLAG,
        top_logprobs=WHOLE,
        audio=OBJECT,
        modalities=listed(TEXT),
        prediction=OBJECT,
        web_search_options=OBJECT,
        metadata=OBJECT,
        store=FLAG,
        service_tier=TEXT,
        safety_identifier=TEXT,
        moderation=OBJECT,
        prompt_cache_key=TEXT,
        prompt_cache_options=OBJECT,
        prompt_cache_retention=TEXT,
    ),
}

COMPLETIONS: Members = {
    "model": MODEL,
    "prompt": Member(
        effect="read",
        about="Of several prompts each is counted for limits.",
        example=["one", "two"],
        schema=either(TEXT, listed(TEXT), listed(WHOLE), listed(listed(WHOLE))),
        is_required=True,
    ),
    **_STREAM,
    **_BOUNDS,
    "max_completion_tokens": CHAT["max_completion_tokens"],
    "best_of": CHAT["best_of"],
    **_SAMPLING,
    **_passed(suffix=TEXT, echo=FLAG, logprobs=WHOLE),
}

EMBEDDINGS: Members = {
    "model": MODEL,
    "input": Member(
        effect="passed", schema=either(TEXT, listed(TEXT), listed(WHOLE), listed(listed(WHOLE))), is_required=True
    ),
    **_passed(dimensions=WHOLE, encoding_format=TEXT, user=TEXT),
}

RERANK: Members = {
    "model": MODEL,
    "query": Member(effect="passed", schema=TEXT, is_required=True),
    "documents": Member(effect="passed", schema=listed(either(TEXT, OBJECT)), is_required=True),
    **_passed(top_n=WHOLE, return_documents=FLAG),
}

SPEECH: Members = {
    "model": MODEL,
    "input": Member(effect="passed", schema=TEXT, is_required=True),
    **_passed(
        voice=either(TEXT, OBJECT),
        instructions=TEXT,
        response_format=TEXT,
        speed=NUMBER,
        stream_format=TEXT,
    ),
}

_PICTURE = _passed(
    n=WHOLE,
    size=TEXT,
    quality=TEXT,
    response_format=TEXT,
    output_format=TEXT,
    output_compression=WHOLE,
    background=TEXT,
    partial_images=WHOLE,
    complexity=ANYTHING,
    frame_count=WHOLE,
    frame_duration_ms=WHOLE,
    svg=ANYTHING,
    safety_identifier=TEXT,
    user=TEXT,
)
_FILE: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}

IMAGES: Members = {
    "model": MODEL,
    "prompt": Member(effect="passed", schema=TEXT, is_required=True),
    **_PICTURE,
    "n": Member(effect="read", about=_CHOICES, example=2, schema=WHOLE),
    **_passed(moderation=TEXT, style=TEXT),
}

_UPLOADED = Member(
    effect="read",
    about=(
        "Send it before the file: until it has come, the form is held; from then on it is streamed to the engine. A "
        "name that the engine calls otherwise is rewritten."
    ),
    example="coder",
    schema=MODEL.schema,
    is_required=True,
)

IMAGE_EDITS: Members = {
    "model": _UPLOADED,
    "image": Member(effect="passed", schema=either(_FILE, listed(_FILE)), is_required=True),
    "prompt": Member(effect="passed", schema=TEXT, is_required=True),
    **_passed(mask=_FILE, input_fidelity=TEXT, markup=ANYTHING),
    **_PICTURE,
}

IMAGE_VARIATIONS: Members = {
    "model": _UPLOADED,
    "image": Member(effect="passed", schema=_FILE, is_required=True),
    **_passed(n=WHOLE, response_format=TEXT, size=TEXT, user=TEXT),
}

TRANSLATIONS: Members = {
    "model": _UPLOADED,
    "file": Member(effect="passed", schema=_FILE, is_required=True),
    **_passed(prompt=TEXT, response_format=TEXT, temperature=NUMBER),
}

TRANSCRIPTIONS: Members = {
    **TRANSLATIONS,
    **_passed(
        language=TEXT,
        languages=ANYTHING,
        timestamp_granularities=listed(TEXT),
        include=listed(TEXT),
        chunking_strategy=either(TEXT, OBJECT),
        keywords=ANYTHING,
        known_speaker_names=listed(TEXT),
        known_speaker_references=listed(TEXT),
        stream=FLAG,
    ),
}

TOKENIZE: Members = {
    "model": MODEL,
    **_passed(
        content=TEXT, prompt=TEXT, messages=listed(OBJECT), add_special=FLAG, parse_special=FLAG, with_pieces=FLAG
    ),
}

INFILL: Members = {
    "model": MODEL,
    "input_prefix": Member(effect="passed", schema=TEXT, is_required=True),
    "input_suffix": Member(effect="passed", schema=TEXT, is_required=True),
    **_passed(input_extra=listed(OBJECT)),
    "prompt": Member(effect="passed", schema=TEXT),
    "stream": _STREAM["stream"],
    **_BOUNDS,
    **_passed(temperature=NUMBER, top_k=WHOLE, top_p=NUMBER, stop=listed(TEXT), seed=WHOLE),
}

BY_PATH: Mapping[str, Members] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETIONS,
    "/v1/embeddings": EMBEDDINGS,
    "/v1/rerank": RERANK,
    "/v1/audio/speech": SPEECH,
    "/v1/audio/transcriptions": TRANSCRIPTIONS,
    "/v1/audio/translations": TRANSLATIONS,
    "/v1/images/generations": IMAGES,
    "/v1/images/edits": IMAGE_EDITS,
    "/v1/images/variations": IMAGE_VARIATIONS,
    "/tokenize": TOKENIZE,
    "/infill": INFILL,
}
"""The members of each path whose requests are passed on as they are."""

"""What becomes of the members of Ollama's requests, and of their ``options``."""

from cortex.gateway.data.reference.anthropic_member import MODEL as _MODEL
from cortex.gateway.data.reference.member import Member, Members
from cortex.gateway.data.reference.shape import FLAG, NUMBER, OBJECT, TEXT, WHOLE, either, listed

_LOADING = "How a model is loaded is the fleet's business."

MODEL = Member(
    effect="read",
    about="Id or alias of a model; `:latest` at its end may be there or not.",
    example="coder",
    schema=_MODEL.schema,
    is_required=True,
)

_KEEP_ALIVE = Member(
    effect="ignored",
    about=(
        "0 in a request without anything to answer, which is Ollama's way to unload, is 400: others may be using "
        "the model."
    ),
    example="5m",
    schema=either(TEXT, NUMBER),
)
_EITHER_WAY: Members = {
    "stream": Member(effect="translated", about="True where it is not said.", example=False),
    "think": Member(
        effect="translated", about="Whether to, or how much; a level nobody knows is as good as true.", example=False
    ),
    "format": Member(
        effect="translated", about='`"json"`, or a JSON schema.', example="json", schema=either(TEXT, OBJECT)
    ),
    "options": Member(effect="translated", example={"temperature": 0.5}),
    "logprobs": Member(effect="refused", about="When true.", example=True),
    "top_logprobs": Member(effect="ignored", example=3, schema=WHOLE),
    "keep_alive": _KEEP_ALIVE,
}

CHAT: Members = {
    "model": MODEL,
    "messages": Member(
        effect="translated",
        about="None, or an empty list: the model is loaded, and nothing answered.",
        example=[{"role": "user", "content": "And again?"}],
    ),
    "tools": Member(effect="translated", example=[{"type": "function", "function": {"name": "weather"}}]),
    **_EITHER_WAY,
}

GENERATE: Members = {
    "model": MODEL,
    "prompt": Member(
        effect="translated",
        about="Without prompt and images the model is loaded, and nothing answered.",
        example="Why?",
    ),
    "system": Member(effect="translated", example="Be brief."),
    "images": Member(effect="translated", about="In base64.", example=["iVBORw0KGgo="]),
    **_EITHER_WAY,
    "raw": Member(effect="refused", about="The model's own template is applied.", example=True),
    "template": Member(effect="refused", about="The model's own template is applied.", example="{{ .Prompt }}"),
    "suffix": Member(effect="refused", about="`POST /v1/completions` fills in.", example="end"),
    "context": Member(effect="refused", about="Send the conversation to `POST /api/chat`.", example=[1, 2]),
    "width": Member(effect="ignored", example=512, schema=WHOLE),
    "height": Member(effect="ignored", example=512, schema=WHOLE),
    "steps": Member(effect="ignored", example=20, schema=WHOLE),
}

EMBED: Members = {
    "model": MODEL,
    "input": Member(
        effect="translated", about="Nothing to embed is answered without an engine.", example=["one", "two"]
    ),
    "dimensions": Member(effect="translated", example=256),
    "truncate": Member(effect="ignored", about="Too long a text is refused, not cut.", example=False, schema=FLAG),
    "options": Member(effect="ignored", about=_LOADING, example={"num_ctx": 2048}, schema=OBJECT),
    "keep_alive": Member(effect="ignored", about=_LOADING, example="5m", schema=either(TEXT, NUMBER)),
    "prompt": Member(effect="ignored", about="`POST /api/embeddings` takes that.", example="one"),
}

EMBEDDINGS: Members = {
    **EMBED,
    "input": Member(effect="ignored", about="`POST /api/embed` takes that.", example=["one"]),
    "prompt": Member(effect="translated", about="Nothing to embed is answered without an engine.", example="two"),
}

SHOW: Members = {
    "model": Member(effect="done", about=MODEL.about, example="coder"),
    "name": Member(effect="done", about="The older word for `model`.", example="coder"),
}

_WHOLE_OPTIONS = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "mirostat")
_NUMBER_OPTIONS = ("tfs_z", "mirostat_tau", "mirostat_eta")
_FLAG_OPTIONS = (
    *("numa", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mmap", "use_mlock", "embedding_only"),
    "penalize_newline",
)
_OF_LOADING = frozenset((*_WHOLE_OPTIONS[:5], *_FLAG_OPTIONS[:-1]))

OPTIONS: Members = {
    "temperature": Member(effect="translated", example=0.5),
    "top_p": Member(effect="translated", example=0.9),
    "top_k": Member(effect="translated", example=40),
    "min_p": Member(effect="translated", example=0.05),
    "seed": Member(effect="translated", about="Below 0: any.", example=7),
    "num_predict": Member(
        effect="translated", about="As `max_tokens`; 0 and less: as many as there is room for.", example=50
    ),
    "stop": Member(effect="translated", example=["END"], schema=either(TEXT, listed(TEXT))),
    "presence_penalty": Member(effect="translated", example=0.1),
    "frequency_penalty": Member(effect="translated", example=0.1),
    "repeat_penalty": Member(effect="translated", example=1.1),
    "repeat_last_n": Member(effect="translated", example=64),
    "typical_p": Member(effect="translated", example=0.9),
    **{
        name: Member(effect="ignored", about=_LOADING if name in _OF_LOADING else "", example=example, schema=schema)
        for names, schema, example in (
            (_WHOLE_OPTIONS, WHOLE, 1),
            (_NUMBER_OPTIONS, NUMBER, 0.5),
            (_FLAG_OPTIONS, FLAG, True),
        )
        for name in names
    },
}
"""Members of ``options``."""

"""The headers that mean something here, of requests and of answers."""

from typing import Any

from cortex.gateway.data.reference.shape import TEXT, WHOLE, Schema, one_of

_LIMITED = "A key with such a limit: "
_OPENAI_RESET = "until it is whole again, as `17ms`, `1.5s`, `6m0s`"
_ANTHROPIC_RESET = "when it is whole again, as RFC 3339"


def _of(about: str, schema: Schema) -> dict[str, Any]:
    return {"description": about, "schema": schema}


ANSWERED: dict[str, Any] = {
    "x-request-id": _of(
        "The request's name, in the access log too: the caller's own, or one that the gateway made.", TEXT
    ),
    "request-id": _of("The same, where Anthropic's SDKs look for it.", TEXT),
    "retry-after": _of("When to ask again, in seconds; of errors that go away by themselves.", WHOLE),
    "x-should-retry": _of(
        "Whether asking again is of use; the SDKs of OpenAI and Anthropic heed it before the status.",
        one_of("true", "false"),
    ),
    "www-authenticate": _of("How to do better: with a key.", one_of("Bearer")),
    "x-cortex-token-count": _of(
        "`estimate` where the model is not loaded, its engine cannot count, or there are pictures.",
        one_of("exact", "estimate"),
    ),
    **{
        f"x-ratelimit-{what}-{unit}": _of(f"{_LIMITED}{words}.", schema)
        for unit in ("requests", "tokens")
        for what, words, schema in (
            ("limit", f"{unit} that it may use", WHOLE),
            ("remaining", f"{unit} that are left", WHOLE),
            ("reset", _OPENAI_RESET, TEXT),
        )
    },
    **{
        f"anthropic-ratelimit-{unit}-{what}": _of(f"{_LIMITED}{words}.", schema)
        for unit in ("requests", "tokens")
        for what, words, schema in (
            ("limit", f"{unit} that it may use", WHOLE),
            ("remaining", f"{unit} that are left", WHOLE),
            ("reset", _ANTHROPIC_RESET, TEXT),
        )
    },
}
"""Headers of answers by name."""

ASKED: dict[str, str] = {
    "authorization": "`Bearer <key>`, where keys are needed.",
    "x-api-key": "The same key, where Anthropic's SDKs put it.",
    "api-key": "The same key, where Azure's put it.",
    "x-request-id": (
        "A name of your own for the request, up to 128 printable characters of ASCII without blanks; it is told back."
    ),
    "anthropic-version": "Taken, and not looked at; on paths that belong to no dialect errors are Anthropic's then.",
    "traceparent": (
        "Goes on to the engine, as `tracestate` and `baggage` do; spans of the gateway belong to that trace."
    ),
}
"""Headers of requests by name."""


def limits_of(dialect: str) -> tuple[str, ...]:
    """Return the names of the headers that tell how the limits of a key stand."""
    start = "anthropic-ratelimit-" if dialect == "anthropic" else "x-ratelimit-"
    return tuple(name for name in ANSWERED if name.startswith(start))

"""Which HTTP status an error has at the gateway's front door, and when to come back: the one table."""

from math import ceil

from cortex.contract import error as e

_STATUS: dict[type[e.CortexError], int] = {
    e.MalformedRequest: 400,
    e.ModelMissing: 400,
    e.ContextExceeded: 400,
    e.EngineRefused: 400,
    e.PreviousResponseNotFound: 400,
    e.Unauthorized: 401,
    e.Forbidden: 403,
    e.KeyForbidden: 403,
    e.ModelNotFound: 404,
    e.ResponseNotFound: 404,
    e.NodeNotFound: 404,
    e.KeyNotFound: 404,
    e.PathNotFound: 404,
    e.MethodNotAllowed: 405,
    e.NodeRefused: 409,
    e.BodyTooLarge: 413,
    e.JsonRequired: 415,
    e.UnsupportedEncoding: 415,
    e.TooManyRequests: 429,
    e.HeadersTooLarge: 431,
    e.LoopDetected: 508,
    e.CallerError: 400,
    e.EngineBusy: 503,
    e.CapacityError: 503,
    e.UpstreamUnreachable: 502,
    e.UpstreamBroken: 502,
    e.EngineFailed: 502,
    e.UpstreamTimeout: 504,
    e.UpstreamError: 502,
    e.CortexError: 500,
}


_OVERLOADED = 529
"""What Anthropic's clients take for "come back soon"; no other dialect knows it."""

_NEVER_OVERLOADED = (e.NoHealthyNode, e.ShuttingDown, e.StoreUnavailable)
"""Not for want of capacity, so these keep their status in every dialect."""


def status_of(error: e.CortexError, dialect: str = "openai") -> int:
    """The status of an error in a dialect, by the nearest class in the table."""
    if dialect == "anthropic" and isinstance(error, e.CapacityError) and not isinstance(error, _NEVER_OVERLOADED):
        return _OVERLOADED
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return 500


RETRY_AFTER_S = 2
"""For errors that go away by themselves and do not say when."""


def retry_after_s(error: e.CortexError) -> int | None:
    """When to come back, in whole seconds; None for an error that does not go away by itself."""
    seconds = error.details.get("retry_in_s")
    if isinstance(seconds, int | float):
        return max(1, ceil(seconds))
    return RETRY_AFTER_S if error.retryable else None

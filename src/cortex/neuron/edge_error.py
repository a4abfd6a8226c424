"""The one table from errors to HTTP status, and the body of every error answer of a neuron."""

from cortex.contract.error import (
    BodyTooLarge,
    CallerError,
    CapacityError,
    CortexError,
    Forbidden,
    JsonRequired,
    MethodNotAllowed,
    ModelNotFound,
    PathNotFound,
    UpstreamError,
    UpstreamTimeout,
)
from cortex.contract.instance import NeuronErrorAnswer, NeuronErrorBody
from cortex.neuron.refusal import (
    Busy,
    DoubleGateway,
    GenerationGone,
    Held,
    Maintenance,
    NoRoom,
    NotLoaded,
    Stale,
    Starting,
    Unauthorized,
)

STATUS: dict[type[CortexError], int] = {
    Unauthorized: 401,
    Forbidden: 403,
    ModelNotFound: 404,
    PathNotFound: 404,
    GenerationGone: 404,
    MethodNotAllowed: 405,
    NoRoom: 409,
    Busy: 409,
    Held: 409,
    Stale: 409,
    Maintenance: 409,
    NotLoaded: 409,
    DoubleGateway: 409,
    BodyTooLarge: 413,
    JsonRequired: 415,
    CallerError: 400,
    Starting: 503,
    CapacityError: 503,
    UpstreamTimeout: 504,
    UpstreamError: 502,
    CortexError: 500,
}
"""The most special class of an error's ancestry decides."""


def status_of(error: CortexError) -> int:
    """Return the HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def body_of(error: CortexError) -> NeuronErrorAnswer:
    """Return the body of the answer."""
    return NeuronErrorAnswer(error=NeuronErrorBody(code=error.code, message=error.message, details=dict(error.details)))

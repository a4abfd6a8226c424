"""The tree of errors that cortex itself raises or answers with.

``code`` is stable snake_case and part of the API; the docstring is the default message. "You erred" (CallerError) is
kept apart from "they erred" (UpstreamError). HTTP status codes live in ``gateway/edge_error.py`` and
``neuron/edge_error.py`` only.
"""


class CortexError(Exception):
    """Something went wrong inside cortex."""

    code = "internal_error"
    retryable = False

    def __init__(self, message: str | None = None, **details: object) -> None:
        self.message = message or (type(self).__doc__ or self.code).strip()
        self.details = details
        super().__init__(self.message)


class LoopDetected(CortexError):
    """The request has been through this gateway before."""

    code = "loop_detected"


class CallerError(CortexError):
    """The request cannot be served as it is."""

    code = "invalid_request"


class MalformedRequest(CallerError):
    """The request is malformed."""

    code = "malformed_request"


class ModelMissing(CallerError):
    """The request names no model: add "model": "<id>" to the JSON body; GET /v1/models lists the ids."""

    code = "model_missing"


class ModelNotFound(CallerError):
    """No model of this name is known."""

    code = "model_not_found"


class ImageUnavailable(CallerError):
    """A picture that the request names by its URL cannot be had."""

    code = "image_unavailable"


class ResponseNotFound(CallerError):
    """No response of this id is kept."""

    code = "response_not_found"


class PreviousResponseNotFound(CallerError):
    """The response that this request goes on from is not kept."""

    code = "previous_response_not_found"


class ThreadUnsupported(CallerError):
    """The request counts on a conversation that Anthropic's own service keeps."""

    code = "thread_unsupported_request"


class NodeNotFound(CallerError):
    """No node of this name is configured."""

    code = "node_not_found"


class NodeRefused(CallerError):
    """The node does not do what it was asked for."""

    code = "node_refused"


class JsonRequired(CallerError):
    """Send the body as JSON with the header Content-Type: application/json."""

    code = "json_required"


class Forbidden(CallerError):
    """Callers from there are not served."""

    code = "forbidden"


class Unauthorized(CallerError):
    """This gateway asks for a key: send it as Authorization: Bearer <key>."""

    code = "unauthorized"


class KeyForbidden(CallerError):
    """The key does not allow this."""

    code = "key_forbidden"


class KeyNotFound(CallerError):
    """No key has this id."""

    code = "key_not_found"


class BodyTooLarge(CallerError):
    """The request body is larger than this gateway accepts."""

    code = "body_too_large"


class HeadersTooLarge(CallerError):
    """The request's headers are larger than this gateway accepts."""

    code = "headers_too_large"


class MethodNotAllowed(CallerError):
    """This path does not take this method."""

    code = "method_not_allowed"


class PathNotFound(CallerError):
    """There is nothing at this path."""

    code = "path_not_found"


class TooManyRequests(CallerError):
    """This caller has more requests waiting than one caller may have."""

    code = "too_many_requests"
    retryable = True


class RateLimited(TooManyRequests):
    """The key has reached one of its limits, and has more of it soon."""

    # ``details``: ``key``, ``limit`` by its name in ``KeyLimits``, ``retry_in_s``.
    code = "rate_limit_exceeded"


class QuotaExhausted(TooManyRequests):
    """The key has used up what it has for the day or the month."""

    code = "insufficient_quota"
    retryable = False


class TokensExceedLimit(TooManyRequests):
    """The request asks for a longer answer than its key's limit allows at all."""

    code = "tokens_exceed_limit"
    retryable = False


class ContextExceeded(CallerError):
    """The request takes more tokens than the model's context has."""

    # ``details``: ``prompt_tokens``, what the engine counted, and ``context``, what it has; each only when the engine
    # said so. ``max_tokens``, what was asked for the answer, where the prompt alone would have fitted.
    code = "context_length_exceeded"


class EngineRefused(CallerError):
    """The model's engine does not take this request."""

    code = "engine_refused"


class UnsupportedEncoding(CallerError):
    """Compressed request bodies are not supported: send the body without Content-Encoding."""

    code = "unsupported_encoding"


class CapacityError(CortexError):
    """There is no capacity for this request now."""

    code = "no_capacity"
    retryable = True


class QueueFull(CapacityError):
    """So many requests wait for the model that no other one may."""

    code = "queue_full"


class BuffersFull(CapacityError):
    """So much of other requests is held that there is no room for this one's body: try again soon."""

    code = "buffers_full"


class NoRoom(CapacityError):
    """No node has room for the model, and none can be made now."""

    code = "no_room"


class NoHealthyNode(CapacityError):
    """No node is healthy."""

    code = "no_healthy_node"


class ModelLoading(CapacityError):
    """The model is still loading."""

    code = "model_loading"


class LoadFailed(CapacityError):
    """The model could not be loaded."""

    code = "load_failed"


class StoreUnavailable(CapacityError):
    """The store cannot be asked."""

    code = "store_unavailable"


class ShuttingDown(CapacityError):
    """This gateway is shutting down."""

    code = "shutting_down"


class EngineBusy(CapacityError):
    """The model's engine takes no more requests now."""

    code = "engine_busy"


class UpstreamError(CortexError):
    """The engine failed."""

    code = "upstream_error"
    retryable = True


class UpstreamUnreachable(UpstreamError):
    """The engine cannot be reached."""

    code = "upstream_unreachable"


class UpstreamBroken(UpstreamError):
    """The engine broke off its answer."""

    code = "upstream_broken"


class EngineFailed(UpstreamError):
    """The model's engine failed at this request."""

    code = "engine_failed"


class PoisonRequest(UpstreamError):
    """Instances have died with this very request in them, so it is not sent to another one."""

    code = "poison_request"
    retryable = False


class UpstreamTimeout(UpstreamError):
    """The engine sent nothing for too long."""

    code = "upstream_timeout"


class ConfigError(CortexError):
    """The configuration cannot be used."""

    code = "config_error"

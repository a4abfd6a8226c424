"""The head of a request as it goes to an engine: request line and headers, but for the framing of its body."""

from cortex.gateway.data import header
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.request_trace import RequestTrace
from cortex.gateway.data.route import InferenceRoute
from cortex.gateway.data.upstream import Origin


def engine_lines(
    route: InferenceRoute, origin: Origin, exchange: Exchange, request_id: bytes, trace: RequestTrace | None
) -> bytes:
    """Return the lines. Of a translated request the caller's headers are of no use to an engine.

    With a ``trace`` the engine's spans go below the attempt's, else below the caller's.
    """
    headers = exchange.headers if trace is None else trace.replaced(exchange.headers)
    if route.engine_path is None:
        head, lines = origin.head(route.path, exchange.query), header.to_engine(headers)
    else:
        head, lines = origin.head(route.engine_path, b""), header.of_translated(headers)
    return b"%b%bx-request-id: %b\r\n" % (head, lines, request_id)

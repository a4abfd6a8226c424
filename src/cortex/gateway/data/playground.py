"""The requests of the dashboard's playground: let in by the operator's session, and from then on like any other.

Its paths are below the dashboard's, with an inference path at the end, because the browser sends the session's cookie
there and nowhere else.
"""

from typing import TYPE_CHECKING

from cortex.gateway.data.route import INFERENCE, InferenceRoute

if TYPE_CHECKING:
    from cortex.gateway.data.exchange import Exchange
    from cortex.gateway.ports import Players

PREFIX = b"/dashboard/playground"
OF_BROWSER = frozenset((b"cookie", b"x-cortex-token", b"origin", b"referer", b"sec-fetch-site"))
"""What is for the gateway, and for nobody behind it."""


def played_route(exchange: "Exchange") -> InferenceRoute | None:
    """Return the route that a request of the playground asks for; None when it is none."""
    if exchange.method != b"POST" or not exchange.path.startswith(PREFIX + b"/v1/"):
        return None
    return INFERENCE.get(exchange.path[len(PREFIX) :])


def admit_player(exchange: "Exchange", players: "Players") -> None:
    """Let an operator's request in, by its session. Raises: Unauthorized, Forbidden, StoreUnavailable."""
    exchange.key = players.admit(exchange.headers)
    exchange.headers = [pair for pair in exchange.headers if pair[0] not in OF_BROWSER]

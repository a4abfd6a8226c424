"""Lets the playground's requests in: whoever may see the dashboard may ask models from its page, and from there only.

The page has no key. Its requests carry what its forms carry: the session's cookie, which no other site can send, and
the token, which no other site knows. What comes of it is the operator's own key, so that limits, usage and models are
its.
Implements ``ports.Players``.
"""

from collections.abc import Sequence

from starlette.requests import Request

from cortex.contract.error import Forbidden
from cortex.contract.key import Key
from cortex.gateway.admin.dashboard.guard import check_origin
from cortex.gateway.admin.dashboard.session import is_same
from cortex.gateway.admin.dashboard.sign_in import SignIn

TOKEN_HEADER = "x-cortex-token"


class PlaygroundDoor:
    """The door; ``sign_in`` knows who has signed in."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in

    def admit(self, headers: Sequence[tuple[bytes, bytes]]) -> Key | None:
        """See ``ports.Players``."""
        request = Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers})
        check_origin(request.headers)
        visitor = self._sign_in.visitor(request)
        if not is_same(visitor.token, request.headers.get(TOKEN_HEADER, "")):
            raise Forbidden("This page is too old, or was not made here: reload it and try again.")
        return visitor.session.key if visitor.session is not None else None

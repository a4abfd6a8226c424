"""Who is let in: the one rule for callers of the neuron.

1. A call with the configured credential is served, from wherever it comes.
2. Without one it is served only while none is configured, and only from the trusted networks; a browser only under a
   name that no foreign site can have (``kit/host_name.py``).
3. A call that changes something must carry JSON and be no web page's: ``kit/json_call.py``.
"""

import hmac
import ipaddress
import socket
from collections.abc import Iterable, Mapping

from cortex.contract.error import Forbidden
from cortex.kit.host_name import host_of, is_ours
from cortex.neuron.endpoint import plain
from cortex.neuron.refusal import Unauthorized


class Door:
    """Checks callers by the headers of a call (names in lower case) and the address it comes from."""

    def __init__(self, token: str | None, trusted_networks: Iterable[str]) -> None:
        self._token = None if token is None else token.encode()
        self._trusted = tuple(ipaddress.ip_network(network) for network in trusted_networks)

    @property
    def asks_credential(self) -> bool:
        """Whether whoever was let in has shown a credential."""
        return self._token is not None

    def check(self, headers: Mapping[str, str], client: str) -> None:
        """Apply rules 1 and 2. Raises: Unauthorized, Forbidden."""
        if self._token is not None:
            given = bearer(headers.get("authorization", ""))
            if not hmac.compare_digest(given.encode("latin-1"), self._token):  # the bytes as they came
                raise Unauthorized
        else:
            self.check_network(client)
            _check_host(headers)

    def check_network(self, client: str) -> None:
        """Raise Forbidden for a caller outside the trusted networks, unless credentials decide instead."""
        if self._token is None and not self._is_trusted(client):
            raise Forbidden(
                f"callers from {client or 'there'} are not served: set `token_file` for credentials, "
                "or add their network to `trusted_networks`"
            )

    def _is_trusted(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(plain(client))
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


def _check_host(headers: Mapping[str, str]) -> None:
    """Raise Forbidden for a browser that came by a name which anybody can have (DNS rebinding)."""
    by_browser = "origin" in headers or "sec-fetch-site" in headers
    if not by_browser and not headers.get("user-agent", "").startswith("Mozilla/"):
        return
    name = host_of(headers.get("host", ""))
    if not is_ours(name, (socket.gethostname(),)):
        raise Forbidden(
            f"browsers are not served under the name {name[:100]!r} while there is no `token_file`: use the address"
        )


def bearer(authorization: str) -> str:
    """Return the credential of an Authorization header; empty when there is none."""
    scheme, _, credential = authorization.partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""

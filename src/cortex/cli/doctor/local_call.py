"""Asks a port of this host, plainly or over TLS without a look at the certificate: it is our own that is looked for."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPException
from pathlib import Path

MOST_BYTES = 4 << 20

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def get(url: str, headers: Mapping[str, str], timeout_s: float) -> tuple[int, bytes, Mapping[str, str]] | None:
    """Return status, body and headers (in lower case); None when nobody answers, or not in HTTP. Blocks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirect
    )
    try:
        request = urllib.request.Request(url, headers=dict(headers))
        with opener.open(request, timeout=timeout_s) as answer:
            return answer.status, answer.read(MOST_BYTES), _lowered(answer.headers)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read(MOST_BYTES), _lowered(exc.headers)
    except (OSError, HTTPException, ValueError):
        return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def place_of(host: str, port: int) -> str:
    """Return host and port at which this host reaches what listens on an address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def has_certificate(place: str, cert: str, timeout_s: float) -> bool:
    """Tell whether the server there shows the first certificate of the file ``cert``: so a daemon is known that lets in
    nobody without a certificate of his own. Blocks."""
    host, _, port = place.rpartition(":")
    try:
        pem = Path(cert).read_text(errors="replace")
        first = pem[pem.index(_BEGIN) : pem.index(_END) + len(_END)]
        shown = ssl.get_server_certificate((host.strip("[]"), int(port)), timeout=timeout_s)
        return ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(first)
    except (OSError, ValueError):
        return False


def _lowered(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}

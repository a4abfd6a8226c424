"""Judges a certificate and its key: whether they can be read, belong together, hold long enough and bear a host's name.

The standard library tells the members of a certificate only to a client that has verified it: so both ends of a
connection are played in memory, with the certificate itself as what is trusted.
"""

import ipaddress
import ssl
from pathlib import Path
from typing import Any, NamedTuple

from cortex.cli.doctor.finding import Finding, fail, ok, warn

SOON_S = 14 * 86400.0
EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED. Source: OpenSSL, x509_vfy.h."""
NOT_YET = 9


class Certificate(NamedTuple):
    """What a pair of files is good for. ``why_not``: why it is no pair; ``verify_code``: why it does not hold now."""

    why_not: str = ""
    verify_code: int = 0
    ends_s: float = 0.0
    names: tuple[str, ...] = ()


def certificate_of(cert: Path, key: Path) -> Certificate:
    """Look at two files. Raises: OSError for one that cannot be opened."""
    for path in (cert, key):
        path.open("rb").close()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(cert, key, password=lambda: "")  # a prompt would wait for ever
    except ssl.SSLError as exc:
        return Certificate(why_not=_words(exc))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    try:
        told = _peer(server, client)
    except ssl.SSLCertVerificationError as exc:
        return Certificate(verify_code=exc.verify_code)
    except ssl.SSLError as exc:
        return Certificate(why_not=_words(exc))
    names = tuple(name for kind, name in told.get("subjectAltName", ()) if kind in ("DNS", "IP Address"))
    return Certificate(ends_s=ssl.cert_time_to_seconds(told["notAfter"]), names=names)


def _words(exc: ssl.SSLError) -> str:
    return {
        "KEY_VALUES_MISMATCH": "the key belongs to another certificate",
        "NO_START_LINE": "one of them is not in PEM",
    }.get(exc.reason or "", (exc.reason or "they cannot be used").replace("_", " ").lower())


def _peer(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """Return what a client is told of the certificate. Raises: SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):  # TLS 1.3 takes two turns
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
        if ends[0].getpeercert():
            break
    return ends[0].getpeercert() or {}


def judge_pair(found: Certificate, about: str) -> Finding:
    """Whether key and certificate belong together."""
    if found.why_not:
        means = "the gateway does not start, or keeps the pair that it has"
        return fail(
            f"{about}: {found.why_not}", means, "put the files of one certificate there, in PEM, the key unencrypted"
        )
    return ok(about)


def judge_expiry(found: Certificate, now_s: float) -> Finding:
    """Whether the certificate holds now, and for a while."""
    if found.verify_code == EXPIRED or (found.ends_s and found.ends_s <= now_s):
        return fail(
            "the certificate has expired", "clients refuse it", "renew it; the gateway takes the new one by itself"
        )
    if found.verify_code == NOT_YET:
        return fail("the certificate does not hold yet", "clients refuse it", "timedatectl: is the clock right?")
    if found.verify_code or not found.ends_s:
        return warn(
            f"the certificate is odd (OpenSSL's code {found.verify_code})",
            "clients may refuse it",
            "openssl x509 -text",
        )
    days = (found.ends_s - now_s) / 86400
    if found.ends_s - now_s < SOON_S:
        return warn(f"the certificate ends in {days:.1f} days", "clients refuse it then", "renew it")
    return ok(f"the certificate holds for {days:.0f} more days")


def judge_names(found: Certificate, hosts: tuple[str, ...]) -> Finding:
    """Whether it bears one of the names by which this host is known."""
    if not found.names:
        return warn("the certificate names no host", "clients refuse it", "make one with subjectAltName")
    said = ", ".join(found.names)
    if any(_is_named(name, host) for name in found.names for host in hosts):
        return ok(f"for {said}")
    means = f"this host is {', '.join(hosts)}: clients that ask for one of these refuse the certificate"
    return warn(f"for {said}", means, "have clients use a name on it, or make one with the host's name")


def _is_named(name: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        pass
    name, host = name.lower(), host.lower()
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])

"""Looks at a daemon's certificate, and judges whether it can be used, holds long enough and bears a host's name.

The standard library tells the names on a certificate only to a client that has verified it: so both ends of a
connection are played in memory, with the certificate itself as what is trusted.
"""

import ipaddress
import ssl
from typing import Any, NamedTuple

import msgspec

from cortex.cli.doctor.finding import Finding, fail, ok, warn
from cortex.cli.doctor.host import look_into
from cortex.contract.error import ConfigError
from cortex.kit.tls import ServerTls, TlsFiles

SOON_S = 14 * 86400.0
NOT_YET = 9
"""X509_V_ERR_CERT_NOT_YET_VALID. Source: OpenSSL, x509_vfy.h."""
DO = "put the files of one certificate there, in PEM, the key without a passphrase"


class Certificate(NamedTuple):
    """What a door's files are good for. ``why_not``: why the daemon cannot use them; ``verify_code``: why a client that
    trusts it refuses it now (0: it does not); ``names``: empty also where that is not told."""

    why_not: str = ""
    verify_code: int = 0
    ends_s: float | None = None
    names: tuple[str, ...] = ()


def certificate_of(files: TlsFiles) -> Certificate:
    """Look at the files of a door, as the daemon does. Raises: PermissionError for one that this user may not read."""
    look_into(files.cert, files.key, files.ca)
    try:
        ends_s = ServerTls(files).not_after_s
        server = ServerTls(msgspec.structs.replace(files, ca=None)).context
    except ConfigError as exc:
        return Certificate(why_not=exc.message)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(files.cert)
    try:
        told = _peer(server, client)
    except ssl.SSLCertVerificationError as exc:
        return Certificate(verify_code=exc.verify_code, ends_s=ends_s)
    except ssl.SSLError as exc:
        return Certificate(why_not=exc.reason or "no connection can be made with it", ends_s=ends_s)
    names = tuple(name for kind, name in told.get("subjectAltName", ()) if kind in ("DNS", "IP Address"))
    return Certificate(ends_s=ends_s, names=names)


def _peer(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """Return what a client is told of the certificate. Raises: SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(10):  # TLS 1.3 takes two turns
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0].getpeercert() or {}


def judge_pair(found: Certificate | None) -> Finding:
    """Whether the daemon can use it. None: no certificate is configured."""
    if found is None:
        return ok("no TLS: connections are not encrypted")
    if found.why_not:
        return fail(found.why_not, "the daemon does not start; one that runs keeps what it has", DO)
    return ok("certificate and key can be used")


def judge_expiry(found: Certificate | None, now_s: float) -> Finding:
    """Whether the certificate holds now, and for a while."""
    if found is None or found.ends_s is None:
        return ok("no TLS") if found is None else ok("no certificate can be read: see tls.pair")
    days = (found.ends_s - now_s) / 86400
    renew = "renew it: the daemon takes the new one without a restart"
    if days <= 0:
        return fail(f"the certificate has ended {-days:.1f} days ago", "clients refuse it", renew)
    if found.verify_code == NOT_YET:
        return fail("the certificate does not hold yet", "clients refuse it", "timedatectl: is the clock right?")
    if found.ends_s - now_s < SOON_S:
        return warn(f"the certificate ends in {days:.1f} days", "clients refuse it then", renew)
    return ok(f"the certificate holds for {days:.0f} more days")


def judge_names(found: Certificate | None, hosts: tuple[str, ...]) -> Finding:
    """Whether it bears one of the names by which this host is known."""
    if found is None or found.why_not or found.verify_code:
        return ok("no TLS") if found is None else ok("no certificate that holds: see tls.pair and tls.expiry")
    if not found.names:
        return warn("the certificate names no host", "clients refuse it", "make one with a subjectAltName")
    said = ", ".join(found.names)
    if any(_is_named(name, host) for name in found.names for host in hosts):
        return ok(f"it is for {said}")
    means = f"this host is {', '.join(hosts)}: clients that call it so refuse the certificate"
    return warn(f"it is for {said}", means, "have clients use a name on it, or make one with this host's name")


def _is_named(name: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        name, host = name.lower(), host.lower()
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])

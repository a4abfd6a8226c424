"""TLS for our own doors and our own calls: contexts made from files, and made anew when the files have changed.

A new context is complete before it takes the old one's place, so a file that cannot be used changes nothing. Whoever is
connected stays so: only the next handshake sees the new certificate. Private keys never leave this file's hands.

Modern defaults (Mozilla's "intermediate", 2026): TLS 1.2 and 1.3, forward secrecy and authenticated ciphers only. Where
clients show certificates, 1.3 alone.
"""

import logging
import os
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from cortex.contract.error import ConfigError
from cortex.kit.certificate import not_after_s

log = logging.getLogger(__name__)

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; those of 1.3 are all of this kind."""
OTHERS_MAY = stat.S_IRWXO | stat.S_IWGRP
"""What nobody should be allowed to do with a private key's file; a group may read it."""

Stamp = tuple[tuple[int, int, int] | None, ...]


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of PEM files, and what they are called in the configuration: ``where`` is put before a key's name.

    ``cert`` with its chain and ``key``: who we are; ``ca``: by whom the other side's certificate must be signed.
    """

    cert: str | None = None
    key: str | None = None
    ca: str | None = None
    where: str = ""
    cert_key: str = "tls_cert"
    key_key: str = "tls_key"
    ca_key: str = "tls_client_ca"


class Tls:
    """One side's context, ``current``; :meth:`renew` makes it anew from its files. Raises: ConfigError."""

    def __init__(self, files: TlsFiles, make: Callable[[TlsFiles], ssl.SSLContext]) -> None:
        self._files = files
        self._make = make
        self._tried: Stamp = stamp_of(files)
        self._seen: Stamp = self._tried
        self.current = make(files)
        self.not_after_s = _ends_s(files)
        """When the certificate ends, in UTC epoch seconds; None without one."""
        _warn_of_open_key(files)

    def renew(self) -> None:
        """Read the files anew. Raises: ConfigError; then everything stays as it was."""
        self._tried = self._seen = stamp_of(self._files)
        current, ends_s = self._make(self._files), _ends_s(self._files)
        self.current, self.not_after_s = current, ends_s
        _warn_of_open_key(self._files)

    def has_settled_anew(self) -> bool:
        """Tell whether files are others than when they were read last, and stood still since the last look."""
        now = stamp_of(self._files)
        has_settled, self._seen = now == self._seen, now
        return has_settled and now != self._tried

    def renew_or_tell(self) -> None:
        """Read the files anew and say in the log what came of it."""
        cert = self._files.cert or self._files.ca
        try:
            self.renew()
        except ConfigError as error:
            log.error("TLS stays as it was: %s", error.message)
        else:
            log.info("TLS: %s was read again; new connections see it", cert)


class ServerTls(Tls):
    """TLS of a door. ``context`` is what a server is given, once: each handshake is handed on to the newest one."""

    def __init__(self, files: TlsFiles) -> None:
        super().__init__(files, _server_context)
        self.context = self.current
        self.context.sni_callback = self._hand_on

    def _hand_on(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self.current


class ClientTls(Tls):
    """TLS of our own calls to one peer; without a ``ca`` its certificate is checked by what the system trusts."""

    def __init__(self, files: TlsFiles) -> None:
        super().__init__(files, _client_context)


def stamp_of(files: TlsFiles) -> Stamp:
    """Return which files there are, when they were written, and how long they are."""
    return tuple(_stamp(path) for path in (files.cert, files.key, files.ca))


def _stamp(path: str | None) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path) if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)


def _server_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _modernize(context)
    context.set_alpn_protocols(["http/1.1"])
    if files.ca is not None:
        _load_ca(context, files, files.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        # Else who has left the list of those trusted could go on with an earlier session: those of 1.2 cannot be
        # switched off from Python, neither its tickets nor the cache of OpenSSL behind them.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
    _load_own(context, files)
    return context


def _client_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _modernize(context)
    if files.ca is not None:
        _load_ca(context, files, files.ca)
    else:
        context.load_default_certs()
    if files.cert is not None:
        _load_own(context, files)
    return context


def _modernize(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)


def _load_own(context: ssl.SSLContext, files: TlsFiles) -> None:
    cert, key = files.cert, files.key
    assert cert is not None  # the settings ask for both or none
    assert key is not None
    _readable(cert, files, files.cert_key)
    _readable(key, files, files.key_key)
    try:
        context.load_cert_chain(cert, key, password=lambda: _ask_nobody(key, files))
    except (ssl.SSLError, OSError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or str(exc)
        why = _WORDS.get(str(reason), f"are no certificate with its key in PEM: {reason}")
        raise ConfigError(f"{files.where}{files.cert_key}, {files.key_key}: {cert} and {key} {why}") from exc


_WORDS = {
    "KEY_VALUES_MISMATCH": "do not belong together: the key is another certificate's",
    "EE_KEY_TOO_SMALL": "are too weak: take a key of 2048 bits (RSA) or more, or one of an elliptic curve",
}


def _load_ca(context: ssl.SSLContext, files: TlsFiles, path: str) -> None:
    _readable(path, files, files.ca_key)
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(f"{files.where}{files.ca_key}: {path} holds no certificate in PEM: {exc}") from exc


def _readable(path: str, files: TlsFiles, key: str) -> None:
    """Raise ConfigError with the system's words for a file that cannot be read; OpenSSL's say little.

    A pipe is none: whoever opens one waits for a writer, and all requests with it.
    """
    try:
        is_file = stat.S_ISREG(os.stat(path).st_mode)
        if is_file:
            Path(path).open("rb").close()
    except OSError as exc:
        raise ConfigError(f"{files.where}{key}: {path} cannot be read: {exc.strerror}") from exc
    if not is_file:
        raise ConfigError(f"{files.where}{key}: {path} is not a file")


def _ask_nobody(path: str, files: TlsFiles) -> str:
    raise ConfigError(
        f"{files.where}{files.key_key}: {path} has a passphrase, which nobody is there to type: remove it"
    )


def _ends_s(files: TlsFiles) -> float | None:
    if files.cert is None:
        return None
    try:
        return not_after_s(Path(files.cert).read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{files.where}{files.cert_key}: {files.cert}: {exc}") from exc


def _warn_of_open_key(files: TlsFiles) -> None:
    if files.key is None:
        return
    try:
        mode = stat.S_IMODE(os.stat(files.key).st_mode)
    except OSError:
        return
    if mode & OTHERS_MAY:
        log.warning(
            "%s%s: others than its owner may use the private key %s (mode %04o): chmod 600 it",
            files.where,
            files.key_key,
            files.key,
            mode,
        )

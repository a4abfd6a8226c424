"""Certificates for tests, made on the spot by an authority of their own; nobody else knows it."""

import datetime
import ssl
from pathlib import Path
from typing import NamedTuple

import trustme

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Pair(NamedTuple):
    """A certificate with its chain, and its key."""

    cert: str
    key: str


class Authority:
    """Signs certificates and writes them into a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._folder = folder
        self.file = str(folder / f"{name}.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str, *names: str, not_after: datetime.datetime | None = None, to: Pair | None = None) -> Pair:
        """Write a certificate for ``names`` (default: loopback), in the place of an earlier one or as ``name``."""
        issued = self._ca.issue_cert(*(names or LOOPBACK), common_name=name, not_after=not_after)
        pair = to or Pair(str(self._folder / f"{name}.pem"), str(self._folder / f"{name}.key"))
        Path(pair.cert).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(pair.key)
        Path(pair.key).chmod(0o600)
        return pair

    def trusting(self, shown: Pair | None = None) -> ssl.SSLContext:
        """Return a client's context that trusts this authority only, and shows a certificate when it has one."""
        context = ssl.create_default_context(cafile=self.file)
        if shown is not None:
            context.load_cert_chain(*shown)
        return context

"""Until when a certificate holds, read from its PEM file. Checks nothing: whether it is trusted is for TLS to say.

Python shows the dates of certificates that it has verified only, so the few bytes that they stand in are read here.

Source: RFC 5280 §4.1 (TBSCertificate: version, serialNumber, signature, issuer, validity), X.690 §8.1.3 (lengths).
"""

import ssl
from datetime import UTC, datetime

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def not_after_s(pem: str) -> float:
    """Return when the first certificate of a PEM file ends, in UTC epoch seconds. Raises: ValueError."""
    begin, end = pem.find(_BEGIN), pem.find(_END)
    if begin < 0 or end < begin:
        raise ValueError("there is no certificate in it (-----BEGIN CERTIFICATE-----)")
    try:
        return _not_after_s(ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_END)]))
    except (ValueError, IndexError):
        raise ValueError("its first certificate cannot be read") from None


def _not_after_s(der: bytes) -> float:
    _, whole, _ = _element(der)
    _, rest, _ = _element(whole)
    tag, _, after = _element(rest)
    if tag == _VERSION:
        rest = after
    for _ in ("serialNumber", "signature", "issuer"):
        _, _, rest = _element(rest)
    tag, validity, _ = _element(rest)
    if tag != _SEQUENCE:
        raise ValueError("no validity")
    _, _, rest = _element(validity)
    tag, text, _ = _element(rest)
    return _epoch_s(tag, text.decode("ascii"))


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Return tag and content of the first element, and what follows it. Raises: IndexError, ValueError."""
    tag, length, at = data[0], data[1], 2
    if length >= 0x80:
        at += length - 0x80
        length = int.from_bytes(data[2:at], "big")
    if at + length > len(data):
        raise ValueError("cut off")
    return tag, data[at : at + length], data[at + length :]


def _epoch_s(tag: int, text: str) -> float:
    if tag == _UTC_TIME:  # RFC 5280 §4.1.2.5.1: two digits are a year from 1950 to 2049
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()

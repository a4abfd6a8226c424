"""When certificates end is read as the tools say it."""

import datetime
import ssl
from pathlib import Path

import pytest
from tests.certificate import Authority

from cortex.kit.certificate import not_after_s

UTC = datetime.UTC


@pytest.mark.parametrize(
    "end", [datetime.datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime.datetime(2050, 1, 1, tzinfo=UTC)], ids=str
)
def test_an_end_is_read_in_both_ways_of_writing_it(tmp_path: Path, end: datetime.datetime) -> None:
    pair = Authority(tmp_path).issue("server", not_after=end)
    assert not_after_s(Path(pair.cert).read_text()) == end.timestamp()


def test_it_is_what_python_says_of_a_certificate_that_it_has_verified(tmp_path: Path) -> None:
    pem = Path(Authority(tmp_path).file).read_text()
    context = ssl.create_default_context(cadata=pem)
    (shown,) = context.get_ca_certs()
    assert not_after_s(pem) == ssl.cert_time_to_seconds(str(shown["notAfter"]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no certificate",
        "-----END CERTIFICATE----------BEGIN CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_certificate_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="certificate"):
        not_after_s(text)


def test_no_cut_certificate_is_read_as_a_whole_one(tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(Path(Authority(tmp_path).file).read_text())
    for length in range(len(der)):
        with pytest.raises(ValueError, match="cannot be read"):
            not_after_s(ssl.DER_cert_to_PEM_cert(der[:length]))

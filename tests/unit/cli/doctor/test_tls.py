"""A certificate is looked at as a daemon and its clients do, and judged before they refuse it."""

import datetime
from pathlib import Path

import pytest
from tests.certificate import Authority

from cortex.cli.doctor.tls import Certificate, certificate_of, judge_expiry, judge_names, judge_pair
from cortex.kit.tls import TlsFiles

DAY_S = 86400.0


def test_a_pair_is_seen_with_its_end_and_its_names(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("door", "gw.example.org", "127.0.0.1")
    found = certificate_of(TlsFiles(cert=str(pair.cert), key=str(pair.key)))
    assert (found.why_not, found.verify_code) == ("", 0)
    assert set(found.names) == {"gw.example.org", "127.0.0.1"}
    assert found.ends_s is not None
    assert judge_expiry(found, found.ends_s - 100 * DAY_S).result == "ok"


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one", "a.example.org"), authority.issue("other", "b.example.org")
    found = certificate_of(TlsFiles(cert=str(one.cert), key=str(other.key)))
    assert "do not belong together" in found.why_not
    assert judge_pair(found).result == "fail"


def test_a_certificate_that_has_ended_is_told(tmp_path: Path) -> None:
    ended = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    pair = Authority(tmp_path).issue("old", "gw.example.org", not_after=ended)
    found = certificate_of(TlsFiles(cert=str(pair.cert), key=str(pair.key)))
    assert found.why_not == ""
    judged = judge_expiry(found, datetime.datetime.now(datetime.UTC).timestamp())
    assert (judged.result, judged.found[:35]) == ("fail", "the certificate has ended 2.0 days ")
    assert judge_names(found, ("gw.example.org",)).result == "ok"  # nothing of its own


@pytest.mark.parametrize(
    ("found", "result"),
    [
        (None, "ok"),
        (Certificate(ends_s=60 * DAY_S), "ok"),
        (Certificate(ends_s=5 * DAY_S), "warn"),
        (Certificate(ends_s=-1.0, verify_code=10), "fail"),
        (Certificate(ends_s=60 * DAY_S, verify_code=9), "fail"),
        (Certificate(why_not="no PEM"), "ok"),
    ],
    ids=["none", "long", "soon", "ended", "not yet", "unusable"],
)
def test_the_end_is_told_before_it_comes(found: Certificate | None, result: str) -> None:
    assert judge_expiry(found, 0.0).result == result


@pytest.mark.parametrize(
    ("names", "hosts", "result"),
    [
        (("gw.example.org",), ("gw", "GW.example.org"), "ok"),
        (("*.example.org",), ("gw.example.org",), "ok"),
        (("*.example.org",), ("a.gw.example.org",), "warn"),
        (("10.0.0.1",), ("10.0.0.1",), "ok"),
        (("other",), ("gw",), "warn"),
        ((), ("gw",), "warn"),
    ],
)
def test_the_hosts_name_is_on_it(names: tuple[str, ...], hosts: tuple[str, ...], result: str) -> None:
    assert judge_names(Certificate(ends_s=1.0, names=names), hosts).result == result


def test_without_a_certificate_nothing_is_wrong_with_it() -> None:
    assert {judge_pair(None).result, judge_names(None, ("gw",)).result} == {"ok"}
    assert judge_pair(Certificate(ends_s=1.0)).result == "ok"

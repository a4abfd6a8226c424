"""Contexts from files: what cannot be used is told and changes nothing, what is new is seen by the next handshake."""

import contextlib
import logging
import os
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.certificate import Authority, Pair

from cortex.contract.error import ConfigError
from cortex.kit.certificate import not_after_s
from cortex.kit.tls import ClientTls, ServerTls, TlsFiles


def server(pair: Pair, ca: str | None = None) -> ServerTls:
    return ServerTls(TlsFiles(cert=pair.cert, key=pair.key, ca=ca, where="[gateway] "))


def shake(
    client: ssl.SSLContext, of_server: ssl.SSLContext, name: str = "localhost", session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, bytes]:
    """Shake hands in memory; return the client's side and the certificate that it was shown. Raises: ssl.SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    theirs = of_server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    with contextlib.suppress(ssl.SSLWantReadError):
        ours.read()  # tickets of TLS 1.3
    shown = ours.getpeercert(binary_form=True)
    assert shown is not None
    return ours, shown


def test_a_handshake_is_modern(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = server(authority.issue("server"))
    client = authority.trusting()
    client.set_alpn_protocols(["h2", "http/1.1"])
    shaken, _ = shake(client, tls.context)
    assert shaken.version() == "TLSv1.3"
    assert shaken.selected_alpn_protocol() == "http/1.1"
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_old_protocol_and_an_old_cipher_are_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = server(authority.issue("server"))
    assert {cipher["name"] for cipher in tls.context.get_ciphers() if cipher["protocol"] == "TLSv1.2"} == {
        f"ECDHE-{key}-{cipher}"
        for key in ("ECDSA", "RSA")
        for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256", "CHACHA20-POLY1305")
    }
    old = authority.trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE+AES128+SHA256:!AESGCM")
    with pytest.raises(ssl.SSLError):
        shake(old, tls.context)


def test_a_new_certificate_is_seen_by_the_next_handshake(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    tls = server(pair)
    _, first = shake(authority.trusting(), tls.context)
    authority.issue("server", to=pair)
    _, still = shake(authority.trusting(), tls.context)
    assert still == first
    assert not tls.has_settled_anew()
    assert tls.has_settled_anew()
    tls.renew()
    assert not tls.has_settled_anew()
    _, second = shake(authority.trusting(), tls.context)
    assert second != first
    assert second == ssl.PEM_cert_to_DER_cert(Path(pair.cert).read_text())


def spoil_key(pair: Pair, authority: Authority) -> str:
    other = authority.issue("other")
    os.replace(other.key, pair.key)
    return "do not belong together"


def spoil_cert(pair: Pair, _: Authority) -> str:
    Path(pair.cert).write_text("nothing")
    return "PEM"


def remove(pair: Pair, _: Authority) -> str:
    Path(pair.key).unlink()
    return "cannot be read: No such file"


@pytest.mark.parametrize("spoil", [spoil_key, spoil_cert, remove])
def test_files_that_cannot_be_used_change_nothing_and_are_told(
    tmp_path: Path, spoil: Callable[[Pair, Authority], str], caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    tls = server(pair)
    ends_s = tls.not_after_s
    _, first = shake(authority.trusting(), tls.context)
    words = spoil(pair, authority)
    with pytest.raises(ConfigError, match=words) as told:
        tls.renew()
    assert "[gateway] tls_" in str(told.value)
    with caplog.at_level(logging.ERROR):
        tls.renew_or_tell()
    assert words in caplog.text
    _, still = shake(authority.trusting(), tls.context)
    assert (still, tls.not_after_s) == (first, ends_s)
    authority.issue("server", to=pair)
    tls.renew()
    _, good = shake(authority.trusting(), tls.context)
    assert good != first


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("server")
    locked = str(tmp_path / "locked.key")
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in", pair.key, "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match="passphrase"):
        server(Pair(pair.cert, locked))


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, False), (0o644, True), (0o660, True)])
def test_a_key_that_others_may_use_is_told(
    tmp_path: Path, mode: int, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    pair = Authority(tmp_path).issue("server")
    Path(pair.key).chmod(mode)
    server(pair)
    assert ("chmod 600" in caplog.text) == is_told
    assert "BEGIN" not in caplog.text


def test_when_the_certificate_ends_is_known(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("server")
    assert server(pair).not_after_s == not_after_s(Path(pair.cert).read_text())


def test_who_shows_no_certificate_of_ours_is_not_let_in(tmp_path: Path) -> None:
    authority, strangers = Authority(tmp_path), Authority(tmp_path, "strangers")
    tls = server(authority.issue("server"), authority.file)
    shake(authority.trusting(authority.issue("client")), tls.context)
    with pytest.raises(ssl.SSLError):
        shake(authority.trusting(), tls.context)
    with pytest.raises(ssl.SSLError):
        shake(authority.trusting(strangers.issue("stranger")), tls.context)


def test_whose_authority_is_taken_away_is_not_let_in_any_more(tmp_path: Path) -> None:
    authority, next_one = Authority(tmp_path), Authority(tmp_path, "next")
    allowed = tmp_path / "allowed.pem"
    allowed.write_bytes(Path(authority.file).read_bytes())
    tls = server(authority.issue("server"), str(allowed))
    client = authority.trusting(authority.issue("client"))
    shake(client, tls.context)
    allowed.write_bytes(Path(next_one.file).read_bytes())
    tls.renew()
    with pytest.raises(ssl.SSLError):
        shake(client, tls.context)
    shake(authority.trusting(next_one.issue("newcomer")), tls.context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_nobody_gets_in_by_an_earlier_session_where_certificates_are_asked_for(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    authority, next_one = Authority(tmp_path), Authority(tmp_path, "next")
    allowed = tmp_path / "allowed.pem"
    allowed.write_bytes(Path(authority.file).read_bytes())
    tls = server(authority.issue("server"), str(allowed))
    client = authority.trusting(authority.issue("client"))
    client.minimum_version = client.maximum_version = version
    session = None
    with contextlib.suppress(ssl.SSLError):  # or there is no session that one could go on with
        session = shake(client, tls.context)[0].session
    allowed.write_bytes(Path(next_one.file).read_bytes())
    tls.renew()
    with pytest.raises(ssl.SSLError):
        shake(client, tls.context, session=session)


def test_a_client_trusts_its_authority_only_and_looks_at_the_name(tmp_path: Path) -> None:
    authority, strangers = Authority(tmp_path), Authority(tmp_path, "strangers")
    ours = ClientTls(TlsFiles(ca=authority.file, ca_key="ca_file", where="neurons.n0."))
    shake(ours.current, server(authority.issue("server")).context)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(ours.current, server(strangers.issue("stranger")).context)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake(ours.current, server(authority.issue("elsewhere", "elsewhere.example")).context)


def test_an_authority_that_is_none_is_told(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    with pytest.raises(ConfigError, match=r"neurons\.n0\.ca_file: .*bad\.pem holds no certificate"):
        ClientTls(TlsFiles(ca=str(bad), ca_key="ca_file", where="neurons.n0."))
    with pytest.raises(ConfigError, match=r"cannot be read"):
        ClientTls(TlsFiles(ca=str(tmp_path / "none.pem"), ca_key="ca_file"))


def test_a_pipe_in_a_certificates_place_is_told_and_nobody_waits_for_a_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    tls = server(pair)
    before = tls.current
    Path(pair.cert).unlink()
    os.mkfifo(pair.cert)
    tls.renew_or_tell()
    assert "tls_cert" in caplog.text
    assert "is not a file" in caplog.text
    assert tls.current is before

"""Which names nobody but the owner of a machine can give it."""

import pytest

from cortex.kit.host_name import host_of, is_ours


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Cortex.Example.org", "cortex.example.org"),
        ("cortex.example.org:8000", "cortex.example.org"),
        ("cortex.example.org.", "cortex.example.org"),
        ("cortex.example.org.:8000", "cortex.example.org"),
        ("192.0.2.1:8000", "192.0.2.1"),
        ("[2001:db8::1]:8000", "2001:db8::1"),
        ("[fe80::1%25eth0]", "fe80::1%25eth0"),
        (" beast ", "beast"),
        ("", ""),
    ],
)
def test_the_name_is_read_without_its_port(header: str, name: str) -> None:
    assert host_of(header) == name


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "beast", "127.0.0.1", "203.0.113.9", "::1", "2001:db8::1", "fe80::1%eth0", ""),
        *("beast.local", "gw.example.internal", "nas.home.arpa", "cortex.lan", "a.localhost"),
        *("cortex.example.org", "a.b.example.net"),
    ],
)
def test_what_nobody_else_can_have_is_ours(name: str) -> None:
    assert is_ours(name, ("Cortex.example.org", "*.example.net"))


@pytest.mark.parametrize(
    "name",
    [
        *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "beast.evil.example"),
        *("cortex.example.org.evil.example", "notexample.net", "example.net", "evil.example%.local.evil.example"),
        *("0x7f.1", "evilhome.arpa", "evil.notlocal", "evil.wlan"),
    ],
)
def test_what_anybody_can_have_is_not(name: str) -> None:
    assert not is_ours(name, ("cortex.example.org", "*.example.net"))

"""Who is let in by address, with and without proxies in between."""

import pytest

from cortex.contract.error import Forbidden
from cortex.gateway.data.access import MAX_REMEMBERED, Access
from cortex.gateway.settings import PRIVATE_NETWORKS

PROXIES = ("10.9.0.0/16", "fd00:9::/32")


def is_let_in(peer: str, *forwarded_for: str, proxies: tuple[str, ...] = PROXIES) -> bool:
    access = Access(PRIVATE_NETWORKS, proxies)
    headers = [(b"host", b"x"), *((b"x-forwarded-for", hop.encode("latin-1")) for hop in forwarded_for)]
    answers = []
    for _ in range(2):  # what was found once is remembered
        try:
            access.check(peer, headers)
        except Forbidden:
            answers.append(False)
        else:
            answers.append(True)
    assert answers[0] == answers[1]
    return answers[0]


@pytest.mark.parametrize(
    ("peer", "is_in"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("172.32.0.1", False),
        ("192.168.7.7", True),
        ("8.8.8.8", False),
        ("::1", True),
        ("fd12:3456::1", True),
        ("2001:db8::1", False),
        ("fe80::1%eth0", False),
        ("::1%lo", True),
        ("::ffff:10.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("::ffff:0808:0808", False),
        ("", True),
        ("garbage", False),
    ],
)
def test_a_caller_is_known_by_its_network(peer: str, is_in: bool) -> None:
    assert is_let_in(peer) is is_in


FORWARDED = {
    "by a proxy, for a known one": ("10.9.0.1", ("10.1.1.1",), True),
    "by a proxy, for a stranger": ("10.9.0.1", ("8.8.8.8",), False),
    "by no proxy": ("10.1.1.1", ("10.1.1.2",), False),
    "by a stranger": ("8.8.8.8", ("10.1.1.1",), False),
    "with a port": ("10.9.0.1", ("10.1.1.1:4711",), True),
    "for a stranger with a port": ("10.9.0.1", ("8.8.8.8:80",), False),
    "for a stranger who says more": ("10.9.0.1", ("8.8.8.8, 10.1.1.1:4711:10.1.1.1",), False),
    "with something that is no port": ("10.9.0.1", ("10.1.1.1:http",), False),
    "with a bracket only": ("10.9.0.1", ("[::1",), False),
    "with brackets around what needs none": ("10.9.0.1", ("[10.1.1.1]",), False),
    "with something behind the brackets": ("10.9.0.1", ("[::1]x1",), False),
    "by a local socket": ("", ("10.1.1.1",), True),
    "by a local socket, for a stranger": ("", ("8.8.8.8",), False),
    "by two proxies": ("10.9.0.1", ("10.1.1.1, 10.9.0.2",), True),
    "by two proxies, for a stranger": ("10.9.0.1", ("8.8.8.8, 10.9.0.2",), False),
    "with a lie in front": ("10.9.0.1", ("10.1.1.1, 8.8.8.8",), False),
    "by a known one that is no proxy": ("10.9.0.1", ("8.8.8.8, 10.1.1.1",), False),
    "by a known one that is no proxy, for a known one": ("10.9.0.1", ("10.1.1.2, 10.1.1.1",), False),
    "with a lie in a header of its own": ("10.9.0.1", ("10.1.1.1", "8.8.8.8"), False),
    "by two proxies with a header each": ("10.9.0.1", ("10.1.1.1", "10.9.0.2"), True),
    "for a proxy itself": ("10.9.0.1", ("10.9.0.2",), True),
    "over IPv6": ("fd00:9::1", ("fd01::7",), True),
    "over IPv6, for a stranger": ("fd00:9::1", ("2001:db8::7",), False),
    "by a mapped proxy, for a mapped one": ("::ffff:10.9.0.1", ("::ffff:10.1.1.1",), True),
    "without spaces": ("10.9.0.1", ("10.1.1.1,10.9.0.3,10.9.0.2",), True),
    "empty": ("10.9.0.1", ("",), False),
    "with an empty hop": ("10.9.0.1", ("10.1.1.1,",), False),
    "unknown": ("10.9.0.1", ("unknown",), False),
    "garbage": ("10.9.0.1", ("\xff\xfe, <script>",), False),
    "a network": ("10.9.0.1", ("10.1.1.0/24",), False),
    "very long": ("10.9.0.1", (", ".join(["10.9.0.2"] * 2000),), True),
}


@pytest.mark.parametrize(("peer", "hops", "is_in"), FORWARDED.values(), ids=FORWARDED)
def test_a_forwarded_caller_is_known_by_what_its_proxies_say(peer: str, hops: tuple[str, ...], is_in: bool) -> None:
    assert is_let_in(peer, *hops) is is_in


def test_without_trusted_proxies_nobody_may_forward() -> None:
    assert not is_let_in("127.0.0.1", "127.0.0.1", proxies=())


def test_a_refusal_names_who_and_what_to_change() -> None:
    access = Access(PRIVATE_NETWORKS, PROXIES)
    with pytest.raises(Forbidden, match=r"'8\.8\.8\.8'.*trusted_networks"):
        access.check("8.8.8.8", [])
    with pytest.raises(Forbidden, match=r"10\.1\.1\.1 forwards requests .* not one of trusted_proxies"):
        access.check("10.1.1.1", [(b"x-forwarded-for", b"10.0.0.1")])
    with pytest.raises(Forbidden) as refused:
        access.check("10.9.0.1", [(b"x-forwarded-for", b"\x1b[31m" + b"x" * 5000)])
    assert "\x1b" not in refused.value.message
    assert len(refused.value.message) < 300


def test_more_callers_than_are_remembered_are_told_apart_all_the_same() -> None:
    access = Access(["10.0.0.0/8"], [])
    for number in range(MAX_REMEMBERED + 10):
        access.check(f"10.1.{number >> 8}.{number & 255}", [])
    with pytest.raises(Forbidden):
        access.check("11.0.0.1", [])
    with pytest.raises(Forbidden):
        access.check("11.0.0.1", [])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("10.1.1.1", (), "10.1.1.1"),
        ("", (), ""),
        ("10.9.0.1", ("10.1.1.1",), "10.1.1.1"),
        ("10.9.0.1", ("10.1.1.1, 10.9.0.2",), "10.1.1.1"),
        ("10.9.0.1", ("10.9.0.2",), "10.9.0.1"),
        ("10.9.0.1", ("::ffff:10.1.1.1",), "10.1.1.1"),
        ("10.9.0.1", ("10.1.1.1:4711, 10.9.0.2:80",), "10.1.1.1"),
        ("10.9.0.1", ("[fd00::7]:4711",), "fd00::7"),
        ("10.9.0.1", ("[fd00::7]",), "fd00::7"),
    ],
)
def test_who_is_let_in_is_known_by_the_address_that_it_comes_from(
    peer: str, forwarded_for: tuple[str, ...], address: str
) -> None:
    headers = [(b"x-forwarded-for", hop.encode()) for hop in forwarded_for]
    assert Access(PRIVATE_NETWORKS, PROXIES).check(peer, headers) == address


@pytest.mark.parametrize(
    ("peer", "hops", "origin"),
    [
        ("203.0.113.5", (), "203.0.113.5"),
        ("203.0.113.5", (b"10.0.0.1",), "203.0.113.5"),
        ("10.9.0.1", (b"198.51.100.7",), "198.51.100.7"),
        ("10.9.0.1", (b"1.1.1.1, 198.51.100.7:4711", b"10.9.0.2"), "198.51.100.7"),
        ("10.9.0.1", (b"10.9.0.2",), "10.9.0.2"),
    ],
)
def test_where_a_request_comes_from_is_known_of_strangers_too(peer: str, hops: tuple[bytes, ...], origin: str) -> None:
    access = Access(["127.0.0.0/8"], ["10.9.0.0/16"])
    assert access.origin_of(peer, [(b"x-forwarded-for", hop) for hop in hops]) == origin


@pytest.mark.parametrize(
    ("peer", "is_known"),
    [
        ("10.1.1.1", True),
        ("::ffff:10.1.1.1", True),
        ("172.20.0.1", True),
        ("", True),
        ("10.9.0.1", False),
        ("x", False),
    ],
)
def test_a_connection_is_known_by_its_address_alone(peer: str, is_known: bool) -> None:
    assert Access(["10.1.0.0/16"], ["172.20.0.0/16"]).is_known(peer) == is_known

"""A picture's URL reaches nothing inside, however the inside is written."""

import asyncio

import pytest

from cortex.contract.error import ImageUnavailable
from cortex.gateway.data.image_fetch import ImageFetch, ImagePolicy

INSIDE = [
    *("127.0.0.1", "127.1", "127.000.000.001", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001"),
    *("0", "0.0.0.0", "localhost", "localhost.", "LOCALHOST", "[::1]", "[::]", "[0:0:0:0:0:ffff:127.0.0.1]"),
    *(
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
    ),
    *("[2002:7f00:1::]", "[::127.0.0.1]", "[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[fec0::1]", "[ff02::1]"),
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "192.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]"),
    *("①②⑦.⓪.⓪.①", "127。0。0。1", "127\uff0e0\uff0e0\uff0e1", "ⓛocalhost"),
    *("127.0.0.1%00.example.org", "127.0.0.1#.example.org", "127.0.0.1?.example.org", "127.0.0.1\\.example.org"),
]


@pytest.mark.parametrize("host", INSIDE)
@pytest.mark.parametrize("port", ["", ":443", ":8000", ":22"])
def test_no_way_of_writing_an_inner_address_is_asked(host: str, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connected(*_: object) -> None:
        asked.append(host)
        raise OSError

    asked: list[str] = []
    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", connected)
    with pytest.raises(ImageUnavailable):
        asyncio.run(ImageFetch(ImagePolicy()).fetch(f"https://{host}{port}/latest/meta-data"))
    assert asked == []


def test_what_is_public_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above would see it."""
    asked: list[object] = []

    async def connected(_loop: object, _sock: object, address: object) -> None:
        asked.append(address)
        raise OSError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", connected)
    with pytest.raises(ImageUnavailable):
        asyncio.run(ImageFetch(ImagePolicy()).fetch("https://93.184.216.34/a.png"))
    assert asked == [("93.184.216.34", 443)]

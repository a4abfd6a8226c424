"""What a request's head says of its body: too large, or compressed, is refused before any of it is read."""

import pytest
from tests.unit.gateway.data.rig import Client

from cortex.contract.error import BodyTooLarge, UnsupportedEncoding
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.framing import check_framing, too_large


def exchange(*headers: tuple[bytes, bytes]) -> Exchange:
    return Exchange(Client(), b"POST", b"/x", b"", list(headers))  # type: ignore[arg-type]


def test_a_body_that_is_too_large_is_refused_by_its_length() -> None:
    check_framing(exchange((b"content-length", b"10")), 10)
    with pytest.raises(BodyTooLarge):
        check_framing(exchange((b"content-length", b"11")), 10)


@pytest.mark.parametrize("encoding", [b"gzip", b"zstd", b"br, identity"])
def test_a_compressed_body_is_refused(encoding: bytes) -> None:
    with pytest.raises(UnsupportedEncoding):
        check_framing(exchange((b"content-encoding", encoding)), 10)


def test_the_limit_is_told() -> None:
    assert "64 MiB" in too_large(64 << 20).message

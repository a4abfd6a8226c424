"""The rule of who is let in."""

import socket

import pytest

from cortex.contract.error import Forbidden
from cortex.neuron.caller import Door, bearer
from cortex.neuron.refusal import Unauthorized

TRUSTED = ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8")


def test_whoever_was_let_in_has_shown_a_credential_where_there_is_one() -> None:
    assert Door("s3cret", TRUSTED).asks_credential
    assert not Door(None, TRUSTED).asks_credential


@pytest.mark.parametrize("client", ["127.0.0.1", "10.9.9.9", "fd00::1", "::ffff:10.0.0.1"])
def test_without_a_credential_trusted_networks_are_served(client: str) -> None:
    Door(None, TRUSTED).check({}, client)


@pytest.mark.parametrize("client", ["11.0.0.1", "2001:db8::1", "::ffff:11.0.0.1", "", "unknown"])
def test_without_a_credential_others_are_told_what_to_configure(client: str) -> None:
    with pytest.raises(Forbidden, match="`token_file`"):
        Door(None, TRUSTED).check({}, client)


@pytest.mark.parametrize("authorization", ["Bearer s3cret", "bearer s3cret", "BEARER   s3cret "])
def test_with_a_credential_its_bearer_is_served_from_anywhere(authorization: str) -> None:
    Door("s3cret", TRUSTED).check({"authorization": authorization}, "11.0.0.1")


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret"]
)
def test_with_a_credential_nobody_else_is_served_not_even_from_here(authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    with pytest.raises(Unauthorized):
        Door("s3cret", TRUSTED).check(headers, "127.0.0.1")


def test_a_credential_is_compared_by_its_bytes() -> None:
    as_it_arrives = "schlüssel".encode().decode("latin-1")
    Door("schlüssel", ()).check({"authorization": f"Bearer {as_it_arrives}"}, "")
    with pytest.raises(Unauthorized):
        Door("schlüssel", ()).check({"authorization": "Bearer schl\xfcssel"}, "")


def test_networks_do_not_decide_where_a_credential_does() -> None:
    Door("s3cret", ()).check_network("11.0.0.1")


def test_only_bearers_have_a_credential() -> None:
    assert [bearer(text) for text in ("Bearer a", "bearer  b ", "Basic c", "Bearer", "")] == ["a", "b", "", "", ""]


BROWSERS = [{"user-agent": "Mozilla/5.0"}, {"sec-fetch-site": "same-origin"}, {"origin": "http://evil.example:9090"}]


@pytest.mark.parametrize("sign", BROWSERS, ids=repr)
def test_a_browser_under_a_name_that_anybody_can_have_is_not_served(sign: dict[str, str]) -> None:
    with pytest.raises(Forbidden, match=r"evil\.example"):
        Door(None, TRUSTED).check({**sign, "host": "evil.example:9090"}, "10.0.0.1")


@pytest.mark.parametrize(
    "host", ["10.0.0.5:9090", "[fd00::5]:9090", "beast:9090", "beast.example.internal", socket.gethostname()]
)
def test_a_browser_under_a_name_of_ours_is_served(host: str) -> None:
    Door(None, TRUSTED).check({"user-agent": "Mozilla/5.0", "host": host}, "10.0.0.1")


def test_with_a_credential_the_name_does_not_matter() -> None:
    headers = {"user-agent": "Mozilla/5.0", "host": "evil.example", "authorization": "Bearer s3cret"}
    Door("s3cret", TRUSTED).check(headers, "11.0.0.1")


def test_a_gateway_is_no_browser() -> None:
    Door(None, TRUSTED).check({"user-agent": "cortex-gateway/x", "host": "gpu1.example.org:9090"}, "10.0.0.1")

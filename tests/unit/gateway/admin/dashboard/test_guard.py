"""What a browser must show: the host it meant, where its form comes from; and where it may be sent on to."""

import pytest

from cortex.contract.error import Forbidden
from cortex.gateway.admin.dashboard.guard import check_host, check_origin, host_of, is_encrypted, way_back


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "[::1]:8000", "[2001:db8::1]", "localhost:8000", "gpu-box", "gpu-box.local:8000", "x.home.arpa",
     "known.example.org", "deep.below.example.net:8000", "KNOWN.example.org."],
)  # fmt: skip
def test_a_host_that_only_means_us_is_let_in(host: str) -> None:
    check_host({"host": host}, ("known.example.org", "*.example.net"))


@pytest.mark.parametrize(
    "host",
    ["evil.example.com", "evil.example.com:8000", "known.example.org.evil.example", "example.net", "127.0.0.1.nip.io"],
)
def test_a_name_that_anybody_can_have_is_not(host: str) -> None:
    with pytest.raises(Forbidden, match="allowed_hosts"):
        check_host({"host": host}, ("known.example.org", "*.example.net"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://gateway:8000"},
        {"origin": "https://front.example", "x-forwarded-host": "front.example"},
        {"origin": "http://gateway:8000", "sec-fetch-site": "same-origin"},
    ],
)
def test_our_own_forms_are_taken(headers: dict[str, str]) -> None:
    check_origin({"host": "gateway:8000", **headers})


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://gateway:8001"},
        {"origin": "http://gateway:8000.evil.example"},
        {"origin": "http://gateway:8000", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": ""},
    ],
)
def test_those_of_other_pages_are_not(headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        check_origin({"host": "gateway:8000", **headers})


@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard/models/one?model=a%2Fb", "/dashboard/decisions?kind=load"])
def test_the_way_back_leads_to_our_own_pages(path: str) -> None:
    assert way_back(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "//evil.example/dashboard/", "https://evil.example/dashboard/", "/\\evil.example", "/dashboard//evil.example",
     "/dashboard/../v1/models", "javascript:alert(1)", "/v1/models", "/dashboard/\r\nset-cookie: a=b",
     "/dashboard/" + "x" * 3000,
     "http:/dashboard/", "/dashboard\\@evil.example/"],
)  # fmt: skip
def test_and_nowhere_else(path: str) -> None:
    assert way_back(path) == "/dashboard/"


def test_cookies_stay_with_tls_where_the_browser_came_by_it() -> None:
    assert is_encrypted({}, "https")
    assert is_encrypted({"x-forwarded-proto": "https"}, "http")
    assert is_encrypted({"origin": "https://front.example"}, "http")
    assert not is_encrypted({"origin": "http://gateway"}, "http")


def test_a_host_is_told_from_its_port() -> None:
    assert [host_of(text) for text in ("A:1", "[::1]:8", "10.0.0.1", "")] == ["a", "::1", "10.0.0.1", ""]

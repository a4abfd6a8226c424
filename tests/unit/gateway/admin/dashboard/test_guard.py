"""Where a browser's form may come from, and where the browser may be sent on to."""

import pytest

from cortex.contract.error import Forbidden
from cortex.gateway.admin.dashboard.guard import check_origin, is_encrypted, way_back


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

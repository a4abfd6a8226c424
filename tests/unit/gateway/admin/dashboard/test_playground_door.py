"""Who may ask models from the playground, and as whom."""

from collections.abc import Callable

import pytest
from tests.unit.gateway.admin.dashboard.book import CALLERS, OPERATOR, book_of, record
from tests.unit.gateway.admin.dashboard.stage import Browser

from cortex.contract.error import Forbidden, Unauthorized
from cortex.contract.key import Key
from cortex.gateway.admin.dashboard.playground_door import PlaygroundDoor
from cortex.gateway.data.key_book import MemoryKeyBook


class Scene:
    """A browser that has opened the dashboard, signed in where that is needed, and the door for its playground."""

    def __init__(self, book: MemoryKeyBook | None = None) -> None:
        self.book = book
        self.browser = Browser(book)
        if book is not None:
            self.browser.post("sign-in", {"key": OPERATOR})
        self.token = self.browser.token()
        self.door = PlaygroundDoor(self.browser.sign_in)

    def ask(self, **changes: str | None) -> Key | None:
        cookie = "; ".join(f"{name}={value}" for name, value in self.browser.cookies.items())
        given: dict[str, str | None] = {"host": "gateway", "cookie": cookie, "x-cortex-token": self.token}
        given |= {name.replace("_", "-"): value for name, value in changes.items()}
        return self.door.admit([(name.encode(), value.encode()) for name, value in given.items() if value is not None])


def both() -> list[Callable[[], Scene]]:
    return [Scene, lambda: Scene(book_of(record(), CALLERS))]


def test_while_nobody_has_to_sign_in_requests_are_nobodys() -> None:
    assert Scene().ask() is None


def test_who_has_signed_in_asks_as_the_own_key() -> None:
    key = Scene(book_of(record(), CALLERS)).ask()
    assert key is not None
    assert key.name == "olga"


@pytest.mark.parametrize("make", both(), ids=["open", "signed in"])
@pytest.mark.parametrize("token", [None, "", "guess", "x" * 4000])
def test_without_the_pages_token_nobody_is_let_in(make: Callable[[], Scene], token: str | None) -> None:
    with pytest.raises(Forbidden, match="reload it"):
        make().ask(x_cortex_token=token)


@pytest.mark.parametrize("make", both(), ids=["open", "signed in"])
@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"}])
def test_nor_from_a_page_of_somebody_else(make: Callable[[], Scene], headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden, match="Another page"):
        make().ask(**headers)


def test_our_own_page_is_let_in() -> None:
    assert Scene().ask(origin="http://gateway", sec_fetch_site="same-origin") is None


def test_without_the_cookie_one_has_not_signed_in() -> None:
    with pytest.raises(Unauthorized):
        Scene(book_of(record(), CALLERS)).ask(cookie=None)


def test_a_revoked_key_ends_it() -> None:
    it = Scene(book_of(record(), CALLERS))
    assert it.book is not None
    it.book.take([record(revoked_s=1.0), CALLERS])
    with pytest.raises(Unauthorized):
        it.ask()

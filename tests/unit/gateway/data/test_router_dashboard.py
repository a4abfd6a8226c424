"""The way to the dashboard: which requests it gets, from whom before a key, and that the API is no wider for it."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import EPOCH_S, Client, Rig, rig

from cortex.contract.error import CortexError, Forbidden, MalformedRequest
from cortex.contract.key import Key
from cortex.gateway.data.access import Access
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.data.page import Answer, FleetPages, Page
from cortex.gateway.data.router import DataRouter
from cortex.gateway.key_secret import digest_of
from cortex.gateway.ports import KeyRecord

TRUSTED, FOREIGN = "10.0.0.9", "203.0.113.5"
HTML = (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")


class House:
    """A rig with a dashboard behind its door, which notes who has come."""

    def __init__(self, it: Rig, *records: KeyRecord) -> None:
        self.it = it
        self.came: list[tuple[bytes, str, CortexError | None]] = []
        book = MemoryKeyBook()
        book.take(records)
        pages = FleetPages(it.fleet, created_s=EPOCH_S, is_stopping=bool)
        access = Access(["10.0.0.0/8"], ["10.9.0.0/16"])
        it.router = DataRouter(it.plane, pages, it.more, access, None, book, self._take)  # type: ignore[arg-type]

    def _take(self, exchange: Exchange, request_id: bytes, refusal: CortexError | None = None) -> Page:
        self.came.append((exchange.path, exchange.client, refusal))
        return Page(exchange, lambda: Answer(200, b"<html>"), request_id)

    def ask(
        self, path: bytes, *headers: tuple[bytes, bytes], peer: str = TRUSTED, method: bytes = b"GET"
    ) -> tuple[int, bytes]:
        client = self.it.request(method, path, *headers, peer=peer)
        client.end()
        return client.answer.status, bytes(client.answer.body)

    def come_by(self, host: bytes) -> None:
        """Let a browser come that has been given this name."""
        client = Client()
        client.peer = TRUSTED
        headers = [(b"host", host), (b"user-agent", b"Mozilla/5.0")]
        client.exchange = exchange = Exchange(client, b"GET", b"/dashboard/", b"", headers)  # type: ignore[arg-type]
        exchange.handler = self.it.router(exchange)
        client.end()


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        yield one


def key() -> KeyRecord:
    return KeyRecord(digest_of(b"ctx-secret"), Key(id="key_1", name="olga", shown="ctx-secr", scope="admin"))


@pytest.mark.parametrize("path", [b"/dashboard", b"/dashboard/", b"/dashboard/models/one", b"/dashboard/x/%2e%2e"])
def test_its_paths_are_handed_on_whatever_they_are(it: Rig, path: bytes) -> None:
    house = House(it)
    assert house.ask(path) == (200, b"<html>")
    assert house.came == [(path, TRUSTED, None)]


@pytest.mark.parametrize("path", [b"/dashboards", b"/v1/dashboard/", b"/admin/dashboard/", b"//dashboard/"])
def test_others_are_not(it: Rig, path: bytes) -> None:
    house = House(it)
    assert house.ask(path)[0] in (200, 404)
    assert house.came == []


def test_at_the_root_a_browser_is_sent_there_and_a_client_gets_what_it_got(it: Rig) -> None:
    house = House(it)
    assert house.ask(b"/", HTML) == (302, b"")
    for headers in ((), ((b"accept", b"*/*"),), ((b"accept", b"application/json"),)):
        status, body = house.ask(b"/", *headers)
        assert status == 200
        assert body.startswith(b"{")
    assert house.ask(b"/", HTML, method=b"POST")[0] == 405


def test_while_there_is_no_key_a_stranger_gets_no_further_than_a_refusal(it: Rig) -> None:
    house = House(it)
    house.ask(b"/dashboard/", peer=FOREIGN)
    ((_, _, refusal),) = house.came
    assert isinstance(refusal, Forbidden)


def test_with_keys_everybody_gets_to_its_own_door_known_by_address(it: Rig) -> None:
    house = House(it, key())
    house.ask(b"/dashboard/", peer=FOREIGN)
    house.ask(b"/dashboard/", (b"x-forwarded-for", FOREIGN.encode()), peer="10.9.0.1")
    house.ask(b"/dashboard/", (b"x-forwarded-for", b"1.2.3.4"), peer=FOREIGN)
    assert house.came == [(b"/dashboard/", FOREIGN, None)] * 3


def test_the_api_asks_for_its_key_as_before(it: Rig) -> None:
    house = House(it, key())
    cookie = (b"cookie", b"cortex_session=whatever")
    for path in (b"/v1/models", b"/admin/v1/nodes", b"/dashboardx"):
        assert house.ask(path, cookie, HTML)[0] == 401
    assert house.ask(b"/")[0] == 401
    assert house.came == []


def test_a_request_that_does_not_say_which_host_it_means_is_told_so_there_too(it: Rig) -> None:
    house = House(it)
    house.ask(b"/dashboard/", (b"host", b"one"), (b"host", b"other"))
    ((_, _, refusal),) = house.came
    assert isinstance(refusal, MalformedRequest)


def test_while_there_is_no_key_a_browser_must_have_come_by_a_name_of_ours(it: Rig) -> None:
    house = House(it)
    house.come_by(b"rebound.evil.example")
    house.come_by(b"gateway.local:8000")
    assert [type(refusal) for _, _, refusal in house.came] == [Forbidden, type(None)]


def test_with_keys_any_name_will_do_because_its_browser_has_no_session(it: Rig) -> None:
    house = House(it, key())
    house.come_by(b"gateway.example.org")
    assert house.came == [(b"/dashboard/", TRUSTED, None)]

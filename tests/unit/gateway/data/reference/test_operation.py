"""Every operation is served, and whatever is served is an operation."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import EPOCH_S, Client, Rig, rig

from cortex.contract.error import CortexError
from cortex.contract.key import Key
from cortex.gateway.data.access import Access
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.data.page import FleetPages
from cortex.gateway.data.reference.operation import WORDS, Operation, operations
from cortex.gateway.data.route import INFERENCE
from cortex.gateway.data.router import DataRouter, dialect_of
from cortex.gateway.edge_error import status_of
from cortex.gateway.key_secret import digest_of
from cortex.gateway.ports import KeyRecord

OPERATIONS = list(operations())
ON_API = [operation for operation in OPERATIONS if not operation.is_on_metrics_door]
IN_ROUTER = ("/v1/models", "/v1/models/{id}")
"""What the router finds itself."""

BELOW_RESPONSE = ("", "/cancel", "/input_items")


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as made:
        yield made


def asked(operation: Operation) -> bytes:
    return operation.path.replace("{id}", "resp_1").encode()


@pytest.mark.parametrize("operation", ON_API, ids=lambda operation: operation.name)
def test_it_is_served(it: Rig, operation: Operation) -> None:
    """A method that nothing has is refused, and told which there are."""
    client = it.request(b"PATCH", asked(operation))
    client.end()
    assert client.answer.status == 405
    assert operation.method in client.answer.headers["allow"].split(", ")


@pytest.mark.parametrize("operation", ON_API, ids=lambda operation: operation.name)
def test_it_asks_for_a_key_once_there_are_keys_unless_it_is_open(it: Rig, operation: Operation) -> None:
    book = MemoryKeyBook()
    key = Key(id="key_1", name="alice", shown="ctx-0123")
    book.take([KeyRecord(digest_of(b"ctx-0123456789"), key)])
    pages = FleetPages(it.fleet, created_s=EPOCH_S, is_stopping=bool)
    it.router = DataRouter(it.plane, pages, it.more, Access(["0.0.0.0/0"], []), None, book)
    client = it.request(operation.method.encode(), asked(operation))
    client.end()
    assert (client.answer.status != 401) == operation.is_open


def served(it: Rig) -> set[tuple[str, str]]:
    """What the tables have that requests are looked up in."""
    found = {("POST", path.decode()) for path in INFERENCE}
    found |= {("GET", path.decode()) for path in it.router._pages}
    fixed = it.more._fixed
    found |= {(method.decode(), path.decode()) for path, methods in fixed.items() for method in methods}
    for below in BELOW_RESPONSE:
        methods = it.more.find(f"/v1/responses/resp_1{below}".encode(), b"")
        assert methods is not None
        found |= {(method.decode(), f"/v1/responses/{{id}}{below}") for method in methods}
    return found | {("GET", path) for path in IN_ROUTER}


def test_nothing_else_is_served(it: Rig) -> None:
    assert {(operation.method, operation.path) for operation in ON_API} == served(it)


def test_every_route_has_its_words() -> None:
    assert set(WORDS) == {path.decode() for path in INFERENCE}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_its_errors_are_in_its_dialect(operation: Operation) -> None:
    client = Client("10.0.0.9")
    exchange = Exchange(client, b"GET", asked(operation), b"", [])  # type: ignore[arg-type]
    assert dialect_of(exchange, operation.route).name == operation.dialect.name


FAILING = {
    "get_model": (b"", 404),
    "count_tokens": (b"{", 400),
    "get_response": (b"", 404),
    "delete_response": (b"", 404),
    "cancel_response": (b"", 404),
    "list_input_items": (b"", 404),
    "ollama_show": (b"{}", 400),
}
"""Bodies with which pages fail."""


@pytest.mark.parametrize("name", FAILING)
def test_a_page_that_fails_does_so_with_a_status_that_is_told(name: str) -> None:
    (operation,) = (one for one in OPERATIONS if one.name == name)
    body, status = FAILING[name]
    answers = []

    async def run() -> None:
        with rig() as it:
            client = it.request(operation.method.encode(), asked(operation))
            client.body(body)
            client.end()
            await it.plane.tasks.over()
            answers.append(client.answer)

    asyncio.run(run())
    assert answers[0].status == status
    assert status in {status_of(kind(), operation.dialect.name) for kind in operation.errors}


def test_errors_are_errors_of_ours() -> None:
    assert all(issubclass(kind, CortexError) for operation in OPERATIONS for kind in operation.errors)

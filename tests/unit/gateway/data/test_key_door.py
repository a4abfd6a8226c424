"""Who is let in, by address and by key, and what the others are told in their dialect."""

from collections.abc import Iterator

import msgspec
import pytest
from tests.unit.gateway.data.rig import EPOCH_S, Rig, rig, whole

from cortex.contract.key import Key, KeyScope
from cortex.gateway.data.access import Access
from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.data.key_door import OPEN
from cortex.gateway.data.page import Answer, FleetPages, Page
from cortex.gateway.data.router import DataRouter
from cortex.gateway.key_secret import digest_of
from cortex.gateway.ports import KeyRecord

SECRET = b"ctx-0123456789"
CHAT, MESSAGES, OLLAMA = b"/v1/chat/completions", b"/v1/messages", b"/api/chat"
BEARER = (b"authorization", b"Bearer " + SECRET)
TRUSTED = "10.0.0.9"
FOREIGN = "203.0.113.5"
BODY = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        yield one


def record(secret: bytes = SECRET, **what: object) -> KeyRecord:
    key = Key(**{"id": "key_1", "name": "alice", "shown": "ctx-0123", **what})  # type: ignore[arg-type]
    return KeyRecord(digest_of(secret), key)


def with_keys(it: Rig, *records: KeyRecord) -> MemoryKeyBook:
    """Put keys at the door, which trusts one network."""
    book = MemoryKeyBook()
    book.take(records)
    put(it, book)
    return book


def put(it: Rig, book: MemoryKeyBook) -> None:
    pages = FleetPages(it.fleet, created_s=EPOCH_S, is_stopping=bool)

    def admin(exchange: object, request_id: bytes) -> Page:
        return Page(exchange, lambda: Answer(200, b"{}"), request_id)  # type: ignore[arg-type]

    access = Access(["10.0.0.0/8"], [])
    it.router = DataRouter(it.plane, pages, it.more, access, admin, book)  # type: ignore[arg-type]


def status(it: Rig, path: bytes, *headers: tuple[bytes, bytes], peer: str = TRUSTED, method: bytes = b"GET") -> int:
    client = it.request(method, path, *headers, peer=peer)
    client.end()
    return client.answer.status


def refusal(it: Rig, path: bytes, *headers: tuple[bytes, bytes]) -> tuple[int, dict[str, object]]:
    client = it.post(BODY, *headers, path=path)
    return client.answer.status, msgspec.json.decode(client.answer.body)


def test_while_there_is_no_key_trusted_networks_are_served_whatever_they_show(it: Rig) -> None:
    with_keys(it)
    assert status(it, b"/v1/models", (b"authorization", b"Bearer whatever")) == 200
    assert status(it, b"/v1/models", peer=FOREIGN) == 403


def test_once_there_is_one_every_network_needs_one(it: Rig) -> None:
    with_keys(it, record())
    assert status(it, b"/v1/models") == 401
    assert status(it, b"/v1/models", peer=FOREIGN) == 401
    assert status(it, b"/v1/models", BEARER, peer=FOREIGN) == 200


@pytest.mark.parametrize(
    "header",
    [
        BEARER,
        (b"authorization", b"bearer  " + SECRET),
        (b"x-api-key", SECRET),
        (b"api-key", SECRET),
        (b"x-api-key", SECRET + b" \t"),  # white space around a value is none of it (RFC 9110 §5.5)
        (b"authorization", b"Bearer " + SECRET + b" \t"),
    ],
)
def test_a_key_is_taken_where_sdks_put_it(it: Rig, header: tuple[bytes, bytes]) -> None:
    with_keys(it, record())
    assert status(it, b"/v1/models", header) == 200


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", SECRET),
        (b"authorization", b"Basic " + SECRET),
        (b"authorization", b"Bearer"),
        (b"authorization", b"Bearer " + SECRET[:-1]),
        (b"authorization", b"Bearer " + digest_of(SECRET)),
        (b"x-api-key", b"key_1"),
        (b"cookie", b"key=" + SECRET),
        (b"x-forwarded-for", b"127.0.0.1"),
    ],
)
def test_anything_else_is_no_key(it: Rig, header: tuple[bytes, bytes]) -> None:
    with_keys(it, record())
    assert status(it, b"/v1/models", header) == 401


def test_of_several_that_are_shown_one_that_holds_is_enough(it: Rig) -> None:
    with_keys(it, record())
    assert status(it, b"/v1/models", (b"authorization", b"Bearer dummy"), (b"x-api-key", SECRET)) == 200


@pytest.mark.parametrize("path", sorted(OPEN))
def test_health_stays_open_to_trusted_networks_and_to_them_alone(it: Rig, path: bytes) -> None:
    with_keys(it, record())
    assert status(it, path) == 200
    assert status(it, path, peer=FOREIGN) == 401
    assert status(it, path, BEARER, peer=FOREIGN) == 200
    with_keys(it)
    assert status(it, path, peer=FOREIGN) == 403


@pytest.mark.parametrize("path", [b"/", b"/health/", b"/v1/models/m", b"/api/tags", b"/nowhere", b"//health"])
def test_no_other_path_is_open(it: Rig, path: bytes) -> None:
    with_keys(it, record())
    assert status(it, path) == 401


@pytest.mark.parametrize("scope", ["inference", "admin"])
def test_the_admin_api_asks_for_the_scope_admin(it: Rig, scope: KeyScope) -> None:
    with_keys(it, record(scope=scope))
    assert status(it, b"/admin/v1/nodes", BEARER) == (200 if scope == "admin" else 403)
    assert status(it, b"/v1/models", BEARER) == 200


def test_keys_end_and_their_holders_are_told(it: Rig) -> None:
    with_keys(it, record(revoked_s=1.0), record(b"ctx-old", expires_s=EPOCH_S))
    for secret, words in ((SECRET, "was revoked"), (b"ctx-old", "has expired")):
        said = it.get(b"/v1/models", (b"x-api-key", secret))
        assert said.status == 401
        assert words in msgspec.json.decode(said.body)["error"]["message"]


def test_a_refusal_says_how_to_do_better_in_every_dialect(it: Rig) -> None:
    with_keys(it, record())
    code, said = refusal(it, CHAT)
    assert (code, said["error"]["code"]) == (401, "unauthorized")  # type: ignore[index]
    code, said = refusal(it, MESSAGES)
    assert (code, said["error"]["type"]) == (401, "authentication_error")  # type: ignore[index]
    code, said = refusal(it, OLLAMA)
    assert (code, "Bearer <key>" in said["error"]) == (401, True)  # type: ignore[operator]
    for path in (b"/admin/v1/nodes", b"/v1/models"):
        assert it.get(path).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", [CHAT, MESSAGES, OLLAMA])
def test_a_model_that_the_key_does_not_allow_is_refused_whether_there_is_one_or_not(it: Rig, path: bytes) -> None:
    for models in (("other",), ("alias-of-x", "n*")):
        with_keys(it, record(models=models))
        code, said = refusal(it, path, BEARER)
        assert code == 403
        assert "may not ask for 'm" in str(said)
    assert it.leases.asked == []


def test_a_key_for_an_alias_may_ask_by_the_id(it: Rig) -> None:
    with_keys(it, record(models=("alias-*",)))
    it.leases.next(it.place())
    client = it.post(BODY, BEARER)
    engine = it.upstream.accept()
    engine.say(whole(b"{}"))
    assert client.answer.status == 200
    assert SECRET not in engine.received()


def test_uploads_are_for_the_keys_models_too(it: Rig) -> None:
    with_keys(it, record(models=("other",)))
    form = (b"content-type", b"multipart/form-data; boundary=cut")
    client = it.request(b"POST", b"/v1/audio/transcriptions", form, BEARER)
    client.body(b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--cut--\r\n')
    assert client.answer.status == 403


def test_lists_show_what_the_key_allows(it: Rig) -> None:
    it.fleet.entries = [entry("org/m", "short"), entry("other")]
    with_keys(it, record(models=("short",)))
    assert [model["id"] for model in msgspec.json.decode(it.get(b"/v1/models", BEARER).body)["data"]] == ["org/m"]
    assert status(it, b"/v1/models/org%2Fm", BEARER) == 200
    assert status(it, b"/v1/models/other", BEARER) == 404


def entry(model: str, *aliases: str) -> dict[str, object]:
    return {"id": model, "aliases": list(aliases), "status": "loaded", "nodes": [], "context": None,
            "capabilities": [], "harness": "llamacpp"}  # fmt: skip


def test_the_record_names_the_key_and_the_queue_its_id_and_nothing_its_secret(it: Rig) -> None:
    with_keys(it, record())
    it.leases.next(it.place())
    it.post(BODY, BEARER)
    it.upstream.accept().say(whole(b"{}"))
    assert (it.record.key, it.record.key_id) == ("alice", "key_1")
    assert SECRET.decode() not in repr(it.record)


def test_before_the_store_was_read_nobody_is_let_in_but_to_ask_for_health(it: Rig) -> None:
    put(it, MemoryKeyBook())
    assert it.get(b"/v1/models", BEARER).status == 503
    assert it.get(b"/admin/v1/nodes").status == 503
    assert it.get(b"/readyz").status == 200

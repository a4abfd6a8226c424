"""The admin API as an application: what each path answers, and how it refuses."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.admin.scene import Answer, FakeFleet, a_model, a_view, ask

from cortex.contract.admin import LoadCall, PinCall, PlanQuery, UnloadCall
from cortex.contract.error import CapacityError, LoadFailed, NodeRefused
from cortex.gateway.admin.api import AdminApi
from cortex.gateway.admin.feed import FleetFeed
from cortex.gateway.admin.operation import OPERATIONS, PREFIX, Operation
from cortex.kit.task import TaskOwner


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet()


def call(
    fleet: FakeFleet, method: str, path: str, body: bytes | object = b"", query: str = "", **headers: str
) -> Answer:
    async def scene() -> Answer:
        feed = FleetFeed(fleet, fleet.clock, TaskOwner(), start_id="x")
        api = AdminApi(fleet, feed, fleet.clock, fleet.keys, fleet.usage, insight=fleet.seen.insight)
        return await ask(api, method, PREFIX + path, body, query, **headers)

    return asyncio.run(scene())


def get(fleet: FakeFleet, path: str, query: str = "", **headers: str) -> Answer:
    return call(fleet, "GET", path, query=query, **headers)


def post(fleet: FakeFleet, path: str, body: bytes | object = b"", **headers: str) -> Answer:
    return call(fleet, "POST", path, body, **headers)


def sample_path(operation: Operation) -> str:
    return operation.path.replace("{name}", "beast").replace("{id}", "org/big")


ONE_SHOT = [operation for operation in OPERATIONS if operation.name != "stream_events"]
BODIES: dict[str, object] = {
    "load_model": {"model": "org/big"},
    "unload_model": {"model": "org/big", "node": "beast", "wait": True},
    "create_key": {"name": "bob"},
    "pin_model": {"model": "org/big", "node": "beast", "pinned": True},
}
QUERIES = {"plan_model": "model=org/big", "explain_model": "model=org/big"}


@pytest.mark.parametrize("operation", ONE_SHOT, ids=lambda operation: operation.name)
def test_every_operation_answers_what_it_promises(fleet: FakeFleet, operation: Operation) -> None:
    answer = call(
        fleet,
        operation.method,
        sample_path(operation),
        BODIES.get(operation.name, b""),
        query=QUERIES.get(operation.name, ""),
    )
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    if operation.answer is not None:
        msgspec.json.decode(answer.body, type=operation.answer)
        assert set(answer.json()) == {field.encode_name for field in msgspec.structs.fields(operation.answer)}


def test_a_node_is_shown_by_its_name(fleet: FakeFleet) -> None:
    assert get(fleet, "/nodes/benjy").json()["why"] == "connection refused"


def test_an_unknown_node_is_a_404_with_the_nearest(fleet: FakeFleet) -> None:
    answer = get(fleet, "/nodes/beats")
    assert (answer.status, answer.error["code"]) == (404, "node_not_found")
    assert answer.error["message"] == "No node 'beats' is configured; did you mean 'beast'?"


@pytest.mark.parametrize("name", ["org/big", "big"], ids=["id", "alias"])
def test_a_model_is_shown_by_id_with_slashes_and_by_alias(fleet: FakeFleet, name: str) -> None:
    assert get(fleet, f"/models/{name}").json()["id"] == "org/big"


def test_an_id_wins_over_an_alias_of_the_same_name(fleet: FakeFleet) -> None:
    fleet.now = a_view(models=[a_model("aa", profile=None), a_model("big", profile=None), a_model("org/big")])
    assert get(fleet, "/models/big").json()["id"] == "big"


def test_an_unknown_model_is_a_404_with_the_nearest(fleet: FakeFleet) -> None:
    answer = get(fleet, "/models/org/bgi")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert "did you mean 'org/big'" in answer.error["message"]


@pytest.mark.parametrize("path", ["/models/", "/nodes/"])
def test_an_answer_does_not_repeat_a_name_that_is_endless(fleet: FakeFleet, path: str) -> None:
    answer = get(fleet, path + "x" * 50_000)
    assert (answer.status, len(answer.body) < 4000) == (404, True)


def test_calls_reach_the_fleet_as_they_were_meant(fleet: FakeFleet) -> None:
    fleet.status = "loading"
    assert post(fleet, "/load", {"model": "m", "node": "beast", "wait": True}).status == 202
    assert post(fleet, "/unload", {"model": "m", "node": "beast", "force": True}).status == 202
    assert post(fleet, "/pin", {"model": "m", "node": "beast", "pinned": None}).status == 200
    assert post(fleet, "/nodes/beast/drain").json() == {"node": "beast", "maintenance": True}
    assert post(fleet, "/nodes/beast/undrain", b"{}").json() == {"node": "beast", "maintenance": False}
    assert fleet.asked == [
        LoadCall(model="m", node="beast", wait=True),
        UnloadCall(model="m", node="beast", force=True),
        PinCall(model="m", node="beast", pinned=None),
        ("beast", True),
        ("beast", False),
    ]


def test_a_model_is_planned_as_it_is_and_as_it_might_be(fleet: FakeFleet) -> None:
    served = get(fleet, "/plan", "model=big").json()
    assert (served["outcome"], served["node"]) == ("served", "beast")
    other = get(fleet, "/plan", "model=big&vram_mb=99").json()
    assert (other["outcome"], other["reason"]) == ("loads", "fits free memory")
    assert fleet.asked == [PlanQuery(model="big"), PlanQuery(model="big", vram_mb=99)]
    assert get(fleet, "/plan", "model=big&node=beats").error["code"] == "node_not_found"
    assert get(fleet, "/plan").error["message"].endswith("missing required field `model`.")


def test_refusals_have_their_status_their_words_and_when_to_come_back(fleet: FakeFleet) -> None:
    fleet.refusal = LoadFailed("out of memory", node="beast", retry_in_s=4.2)
    answer = post(fleet, "/load", {"model": "m"})
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.error == {
        "code": "load_failed",
        "message": "out of memory",
        "details": {"node": "beast", "retry_in_s": 4.2},
    }
    fleet.refusal = NodeRefused("beast: busy", cause="busy")
    answer = post(fleet, "/unload", {"model": "m", "node": "beast"})
    assert (answer.status, "retry-after" in answer.headers) == (409, False)


def test_a_defect_is_a_500_and_goes_on_to_the_log(fleet: FakeFleet) -> None:
    fleet.refusal = RuntimeError("a defect")  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="a defect"):
        post(fleet, "/load", {"model": "m"})


POSTS = [operation for operation in OPERATIONS if operation.method == "POST"]


@pytest.mark.parametrize("operation", POSTS, ids=lambda operation: operation.name)
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content_type": ""}, 415, "json_required"),
        ({"content_type": "text/plain"}, 415, "json_required"),
        ({"content_encoding": "gzip"}, 415, "unsupported_encoding"),
        ({"origin": "http://evil.example"}, 403, "forbidden"),
    ],
    ids=["no type", "a form's type", "compressed", "foreign page"],
)
def test_what_may_not_change_anything_changes_nothing(
    fleet: FakeFleet, operation: Operation, headers: dict[str, str], status: int, code: str
) -> None:
    answer = post(fleet, sample_path(operation), BODIES.get(operation.name, b"{}"), **headers)
    assert (answer.status, answer.error["code"], fleet.asked) == (status, code, [])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_foreign_pages_read_nothing_either(fleet: FakeFleet, operation: Operation) -> None:
    answer = call(fleet, operation.method, sample_path(operation), origin="http://evil.example")
    assert (answer.status, answer.error["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/load", {}, "missing required field `model`; its fields are: model, node, wait"),
        ("/load", {"model": "m", "nod": "x"}, "unknown field `nod`"),
        ("/load", {"model": ""}, "length >= 1"),
        ("/load", b"{", "The body is no JSON"),
        ("/unload", {"model": "m"}, "missing required field `node`"),
        ("/pin", {"model": "m", "node": "n", "pinned": "yes"}, "Expected `bool | null`, got `str`"),
        ("/nodes/beast/drain", {"x": 1}, "unknown field `x`; its fields are: none"),
    ],
)
def test_bodies_that_do_not_fit_are_told_what_would(fleet: FakeFleet, path: str, body: Any, words: str) -> None:
    answer = post(fleet, path, body)
    assert (answer.status, answer.error["code"], fleet.asked) == (400, "malformed_request", [])
    assert words in answer.error["message"]


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        ("/decisions", "limt=3", "did you mean 'limit'?"),
        ("/decisions", "limit=0", ">= 1"),
        ("/decisions", "since=-1", ">= 0"),
        ("/decisions", "kind=zzz", "kind: expected one of placement,"),
        ("/events", "since=nonsense", "expected the id of an event"),
    ],
)
def test_parameters_that_do_not_fit_are_told_what_would(fleet: FakeFleet, path: str, query: str, words: str) -> None:
    answer = get(fleet, path, query)
    assert (answer.status, answer.error["code"]) == (400, "malformed_request")
    assert words in answer.error["message"]


def test_a_path_that_is_none_names_the_nearest_one(fleet: FakeFleet) -> None:
    answer = get(fleet, "/node")
    assert (answer.status, answer.error["code"]) == (404, "path_not_found")
    assert "did you mean '/admin/v1/nodes'?" in answer.error["message"]
    assert "openapi.json" in get(fleet, "/zzz").error["message"]


def test_a_method_that_is_none_names_those_that_are(fleet: FakeFleet) -> None:
    answer = post(fleet, "/nodes")
    assert (answer.status, answer.error["code"], answer.headers["allow"]) == (405, "method_not_allowed", "GET, HEAD")
    assert get(fleet, "/load").headers["allow"] == "POST"


def test_one_reader_too_many_is_told_to_come_back(fleet: FakeFleet) -> None:
    async def scene() -> Answer:
        feed = FleetFeed(fleet, fleet.clock, TaskOwner(), start_id="x")
        feed.readers = 1_000_000
        return await ask(AdminApi(fleet, feed, fleet.clock, insight=fleet.seen.insight), "GET", f"{PREFIX}/events")

    answer = asyncio.run(scene())
    assert (answer.status, answer.error["code"]) == (503, CapacityError.code)
    assert "retry-after" in answer.headers


def test_a_key_is_made_as_it_was_wished_for_and_its_secret_is_not_to_be_cached(fleet: FakeFleet) -> None:
    answer = post(fleet, "/keys", {"name": "bob", "models": ["q*"], "scope": "admin"})
    key = answer.json()["key"]
    assert (key["name"], key["models"], key["scope"]) == ("bob", ["q*"], "admin")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["secret"] not in get(fleet, "/keys").body.decode()


def test_the_first_key_is_not_made_over_the_network(fleet: FakeFleet) -> None:
    assert fleet.keys is not None
    fleet.keys.kept.clear()
    answer = post(fleet, "/keys", {"name": "bob", "scope": "admin"})
    assert (answer.status, answer.error["code"], fleet.keys.kept) == (403, "key_forbidden", {})
    assert "cortex keys create NAME --admin" in answer.error["message"]


@pytest.mark.parametrize("change", ["revoke", "rotate"])
def test_a_key_that_is_not_there_is_a_404(fleet: FakeFleet, change: str) -> None:
    answer = post(fleet, f"/keys/key_x/{change}")
    assert (answer.status, answer.error["code"]) == (404, "key_not_found")


@pytest.mark.parametrize("wish", [{}, {"name": "a b"}, {"name": "a", "scope": "root"}, {"name": "a", "models": [""]}])
def test_a_key_that_cannot_be_is_refused(fleet: FakeFleet, wish: object) -> None:
    answer = post(fleet, "/keys", wish)
    assert (answer.status, answer.error["code"]) == (400, "malformed_request")


def test_without_a_store_there_are_no_keys_to_be_had(fleet: FakeFleet) -> None:
    fleet.keys = None
    answer = get(fleet, "/keys")
    assert answer.status == 400
    assert "[store]" in answer.error["message"]

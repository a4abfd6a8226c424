"""Keys are made, given another secret, ended: each asked for first, each secret shown once."""

import asyncio

import msgspec
import pytest
from tests.unit.gateway.admin.dashboard.stage import Browser, call_of, desk_of
from tests.unit.gateway.admin.scene import FakeFleet

from cortex.contract.error import CallerError, KeyForbidden, KeyNotFound, MalformedRequest
from cortex.contract.key import KeyLimits, KeyWish
from cortex.gateway.admin.dashboard.key_action import create_key, revoke_key, show_key, show_new_key, wish_of

FULL = {
    "name": " bob ", "scope": "admin", "models": "qwen*\r\n\n org/big ,tiny", "queue_priority": "-5", "days": "30",
    "requests_per_min": "60", "tokens_per_min": "1 000", "concurrent_requests": "2", "tokens_per_day": "1_000_000",
    "tokens_per_month": "0", "cold_starts_per_day": "3",
}  # fmt: skip


def test_every_field_of_a_wish_can_be_said() -> None:
    wish = wish_of(FULL)
    assert wish == KeyWish(
        name="bob", scope="admin", models=("qwen*", "org/big", "tiny"), queue_priority=-5, expires_in_s=30 * 86400.0,
        limits=KeyLimits(
            requests_per_min=60, tokens_per_min=1000, concurrent_requests=2, tokens_per_day=1_000_000,
            tokens_per_month=0, cold_starts_per_day=3,
        ),
    )  # fmt: skip
    changed = {
        field.name
        for field in msgspec.structs.fields(KeyWish)
        if not field.required and getattr(wish, field.name) != field.default
    }
    assert changed | {"name"} == set(KeyWish.__struct_fields__)
    assert all(bound is not None for bound in msgspec.structs.astuple(wish.limits))


def test_the_form_has_a_field_for_all_of_it() -> None:
    told = Browser().get("keys/new", hx_request="true").body.decode()
    for name in FULL:
        assert f'name="{name}"' in told


def test_what_is_left_out_does_not_bound() -> None:
    assert wish_of({"name": "bob", "days": "", "tokens_per_day": " ", "models": "\n"}) == KeyWish(name="bob")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": ""}, "The name: expected"),
        ({"name": "with space"}, "The name: expected"),
        ({"name": "x" * 65}, "The name: expected"),
        ({"name": "bob", "scope": "root"}, "cannot be made"),
        ({"name": "bob", "tokens_per_day": "many"}, "tokens a day: expected a whole number, got 'many'"),
        ({"name": "bob", "tokens_per_day": "-1"}, "tokens a day: expected a whole number"),
        ({"name": "bob", "days": "0"}, "expected 1 or more"),
        ({"name": "bob", "days": "999999999"}, "cannot be made"),
        ({"name": "bob", "queue_priority": "99999999"}, "cannot be made"),
        ({"name": "bob", "models": "\n".join(["m"] * 300)}, "cannot be made"),
    ],
)
def test_what_cannot_be_is_refused_in_words(form: dict[str, str], words: str) -> None:
    with pytest.raises(MalformedRequest, match=words):
        wish_of(form)


def test_a_secret_is_shown_once() -> None:
    fleet = FakeFleet()
    browser = Browser(fleet=fleet)
    made = browser.act("keys/new", {"name": "bob"}, hx_request="true")
    assert b"ctx-11112222" in made.body
    assert made.headers["cache-control"] == "no-store"
    assert b"ctx-11112222" not in browser.get("keys").body
    assert fleet.keys is not None
    assert [key.name for key in fleet.keys.kept.values()] == ["first", "bob"]


def test_a_rotation_is_asked_for_first_and_tells_the_new_secret() -> None:
    browser = Browser()
    asked = browser.get("keys/one", "id=beast&do=rotate", hx_request="true").body.decode()
    assert "gets another secret" in asked
    assert "ctx-33334444" not in asked
    assert b"ctx-33334444" in browser.act("keys/rotate", {"id": "beast"}, hx_request="true").body


def test_a_revocation_is_asked_for_first_and_is_for_good() -> None:
    fleet = FakeFleet()
    browser = Browser(fleet=fleet)
    assert "cannot be undone" in browser.get("keys/one", "id=beast&do=revoke", hx_request="true").body.decode()
    assert fleet.keys is not None
    assert fleet.keys.kept["beast"].revoked_s is None
    assert b"holds no longer" in browser.act("keys/revoke", {"id": "beast"}, hx_request="true").body
    assert fleet.keys.kept["beast"].revoked_s == 1.0


@pytest.mark.parametrize("query", ["id=beast", "id=beast&do=", "id=beast&do=rotate", "id=beast&do=Revoke"])
def test_nothing_but_the_word_itself_asks_for_a_revocation(query: str) -> None:
    asked = Browser().get("keys/one", query, hx_request="true").body.decode()
    assert "keys/revoke" not in asked
    assert "keys/rotate" in asked


def test_who_is_about_to_end_their_own_session_is_told() -> None:
    own = call_of({"id": "beast", "do": "revoke"})._replace(who="first")
    assert asyncio.run(show_key(desk_of(FakeFleet()), own)).filling["is_own"]
    assert not asyncio.run(show_key(desk_of(FakeFleet()), own._replace(who="other"))).filling["is_own"]


def test_the_first_key_is_not_made_here() -> None:
    fleet = FakeFleet()
    assert fleet.keys is not None
    fleet.keys.kept.clear()
    for act in (show_new_key, create_key):
        with pytest.raises(KeyForbidden, match="cortex keys create NAME --admin"):
            asyncio.run(act(desk_of(fleet), call_of(form={"name": "bob"})))
    assert fleet.keys.kept == {}


def test_a_key_that_is_gone_and_a_gateway_without_a_store_are_said() -> None:
    fleet = FakeFleet()
    with pytest.raises(KeyNotFound):
        asyncio.run(show_key(desk_of(fleet), call_of({"id": "gone"})))
    with pytest.raises(KeyNotFound):
        asyncio.run(revoke_key(desk_of(fleet), call_of(form={"id": "gone"})))
    fleet.keys = None
    with pytest.raises(CallerError, match="in the store"):
        asyncio.run(revoke_key(desk_of(fleet), call_of(form={"id": "beast"})))


def test_how_limits_stand_is_told_over_all_gateways() -> None:
    told = Browser().get("keys/use", "id=beast", hx_request="true").body.decode()
    for words in ("tokens a day", ">40<", ">7<", ">100<", "1\u202fmin", 'value="0.470"'):
        assert words in told, words

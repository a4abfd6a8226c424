"""Keys as a page shows them."""

import asyncio

from tests.unit.gateway.admin.dashboard.stage import Browser, desk_of
from tests.unit.gateway.admin.scene import FakeFleet

from cortex.contract.key import Key, KeyLimits
from cortex.gateway.admin.dashboard.key_list import LIMIT_FIELDS, LIMIT_WORDS, look_at_keys, row_of
from cortex.gateway.admin.dashboard.page import Filling

NOW_S = 1_800_000_000.0


def a_key(name: str = "bob", **keys: object) -> Key:
    return Key(**({"id": f"key_{name}", "name": name, "shown": "ctx-1111", "created_s": 1.0} | keys))  # type: ignore[arg-type]


def page(fleet: FakeFleet) -> Filling:
    return asyncio.run(look_at_keys(desk_of(fleet), {}))


def test_keys_that_hold_stand_before_those_that_do_not() -> None:
    fleet = FakeFleet()
    assert fleet.keys is not None
    for key in (a_key("zoe"), a_key("ann", revoked_s=2.0), a_key("eve", expires_s=3.0)):
        fleet.keys.kept[key.id] = key
    assert [row.key.name for row in page(fleet)["keys"]] == ["first", "zoe", "ann", "eve"]


def test_a_key_says_why_it_does_not_hold() -> None:
    assert row_of(a_key(), NOW_S).ended == ""
    assert "revoked" in row_of(a_key(revoked_s=2.0), NOW_S).ended
    assert "expired" in row_of(a_key(expires_s=NOW_S - 1), NOW_S).ended


def test_only_limits_that_bound_are_told() -> None:
    limits = KeyLimits(requests_per_min=10, tokens_per_day=0)
    assert row_of(a_key(limits=limits), NOW_S).limits == (("requests a minute", 10), ("tokens a day", 0))


def test_every_limit_has_its_word() -> None:
    assert set(LIMIT_WORDS) == set(LIMIT_FIELDS)


def test_without_a_store_the_page_says_what_to_do() -> None:
    fleet = FakeFleet()
    fleet.keys = None
    told = Browser(fleet=fleet).get("keys").body.decode()
    assert "set url under [store]" in told
    assert "Make a key" not in told


def test_without_a_key_the_page_says_how_the_first_is_made() -> None:
    fleet = FakeFleet()
    assert fleet.keys is not None
    fleet.keys.kept.clear()
    told = Browser(fleet=fleet).get("keys").body.decode()
    assert "cortex keys create NAME --admin" in told
    assert "Make a key" not in told


def test_a_key_is_shown_with_everything_but_its_secret() -> None:
    fleet = FakeFleet()
    assert fleet.keys is not None
    key = a_key("bob", models=("qwen*", "<b>"), limits=KeyLimits(tokens_per_month=5_000_000), queue_priority=3)
    fleet.keys.kept = {"key_bob": key}
    told = Browser(fleet=fleet).get("keys").body.decode()
    for words in ("bob", "ctx-1111…", "qwen*, &lt;b&gt;", "5\u202f000\u202f000 tokens a month", "Revoke the key bob"):
        assert words in told

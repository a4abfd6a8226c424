"""The decisions as a page shows them."""

import asyncio

from tests.unit.gateway.admin.dashboard.stage import desk_of
from tests.unit.gateway.admin.scene import FakeFleet

from cortex.gateway.admin.dashboard.decision_list import LIMITS, look_at_decisions, shown_details
from cortex.gateway.admin.dashboard.page import Filling

THIN = "\u202f"


def fleet() -> FakeFleet:
    it = FakeFleet()
    it.log.note("placement", "has room", now_s=1.0, model="org/big", node="beast", caller="operator")
    it.log.note("load", "it is loaded", now_s=2.0, model="org/big", node="beast", details={"took_s": 1.26})
    it.log.note("failure", "died", now_s=3.0, model="old", node="benjy")
    return it


def page(**query: str) -> Filling:
    return asyncio.run(look_at_decisions(desk_of(fleet()), query))


def kinds(filling: Filling) -> list[str]:
    return [entry.kind for entry, _ in filling["decisions"]]


def test_the_newest_stands_first() -> None:
    assert kinds(page()) == ["failure", "load", "placement"]


def test_they_are_narrowed_down_by_kind_node_and_model() -> None:
    assert kinds(page(kind="load")) == ["load"]
    assert kinds(page(node="benjy")) == ["failure"]
    assert kinds(page(model="big")) == ["load", "placement"]
    assert kinds(page(model=" old ", kind="")) == ["failure"]


def test_a_name_that_nothing_has_is_told_on_the_page() -> None:
    assert "beast" in page(node="beats")["trouble"]
    assert "expected one of" in page(kind="lood")["trouble"]


def test_only_offered_amounts_are_shown() -> None:
    assert page(limit="300")["limit"] == 300
    assert [page(limit=text)["limit"] for text in ("", "-1", "5000", "x")] == [LIMITS[0]] * 4


def test_details_are_told_in_words_with_their_units() -> None:
    details = {"took_s": 1.26, "need_mb": 2048, "devices": (0, 1), "number": 7, "code": None, "by": "x", "share": 0.25}
    assert [(name, text.replace(THIN, " ")) for name, text in shown_details(details)] == [
        ("took", "1.3 s"),
        ("need", "2.0 GiB"),
        ("devices", "0, 1"),
        ("by", "x"),
        ("share", "0.25"),
    ]
    assert shown_details({"terms": {"load_s": 1.5}, "on": True}) == (("terms", "load_s 1.5"), ("on", "True"))

"""Decisions as lines, once and as they come."""

import json
import time

import pytest
from tests.unit.cli.desk import desk

from cortex.cli.client import gateway
from cortex.cli.decision import GAP, follow_decisions, line, show_decisions

NOBODY = {"model": None, "node": None, "kind": None}


def a_decision(number: int = 1, **keys: object) -> dict[str, object]:
    base = {"number": number, "epoch_s": 1_800_000_000.0, "kind": "eviction", "model": "org/a", "node": "beast"}
    return base | {"caller": "agent", "reason": "org/b needs its room", "count": 1} | keys


def a_page(*decisions: dict[str, object], newest: int | None = None, gap: bool = False) -> dict[str, object]:
    last = decisions[-1]["number"] if decisions else 0
    return {"decisions": list(decisions), "next": last, "newest": last if newest is None else newest, "gap": gap}


def test_a_line_says_when_what_where_for_whom_and_why() -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_800_000_000))
    assert line(a_decision()) == f"{when}  eviction     org/a on beast for agent: org/b needs its room"
    plain = a_decision(kind="steward", model="", node="", caller="", reason="it is now")
    assert line(plain) == f"{when}  steward      -: it is now"
    node = a_decision(kind="maintenance", model="", caller="operator", reason="taken out")
    assert line(node) == f"{when}  maintenance  beast for operator: taken out"
    assert line(a_decision(count=500)).endswith("(500 times)")


def test_what_a_node_says_cannot_write_on_the_terminal() -> None:
    assert "\x1b" not in line(a_decision(reason="\x1b[2J\nforged"))
    assert "\n" not in line(a_decision(reason="\x1b[2J\nforged"))


def test_the_newest_are_shown_and_narrowed_down(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(**{"GET_admin_v1_decisions?limit=5&model=org%2Fa": a_page(a_decision())}) as here:
        show_decisions(gateway(here.url, {}), 5, NOBODY | {"model": "org/a"}, as_json=False)
        show_decisions(gateway(here.url, {}), 5, NOBODY | {"model": "org/a"}, as_json=True)
    first, _, rest = capsys.readouterr().out.partition("\n")
    assert first == line(a_decision())
    assert json.loads(rest) == [a_decision()]


def test_following_goes_on_where_it_was_and_says_what_it_missed(capsys: pytest.CaptureFixture[str]) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    with desk(
        **{
            "GET_admin_v1_decisions?limit=2": a_page(a_decision(1), a_decision(2)),
            "GET_admin_v1_decisions?since=2": a_page(a_decision(7), newest=8, gap=True),
            "GET_admin_v1_decisions?since=7": a_page(a_decision(8)),
        }
    ) as here:
        follow_decisions(gateway(here.url, {}), 2, NOBODY, as_json=False, sleep=sleep)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 5
    assert told[2] == GAP
    assert len(slept) == 2, "it does not wait while there is more"


def test_following_as_json_is_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    with desk(**{"GET_admin_v1_decisions?limit=2": a_page(a_decision(1), a_decision(2))}) as here:
        follow_decisions(gateway(here.url, {}), 2, NOBODY, as_json=True, sleep=sleep)
    assert [json.loads(text)["number"] for text in capsys.readouterr().out.splitlines()] == [1, 2]

"""What is done on request, and the text for scripts; the loop itself is tried on a real terminal."""

import pytest
from tests.unit.cli.desk import desk
from tests.unit.cli.top.test_feed import ANSWERS

from cortex.cli.client import gateway
from cortex.cli.top.command import done, top
from cortex.cli.top.glance import Wish
from cortex.contract.error import UpstreamError, UpstreamUnreachable

ONCE = {key.replace("100", "20"): value for key, value in ANSWERS.items()}


def test_wishes_become_calls_and_answers_words() -> None:
    with desk(
        POST_admin_v1_load={"model": "m", "node": "n", "status": "loading", "reason": "fits free memory"},
        POST_admin_v1_unload={"model": "m", "node": "n", "status": "draining"},
        **{"POST_admin_v1_nodes_a%2Fb_drain": {"node": "a/b", "maintenance": True}},
    ) as here:
        server = gateway(here.url, {})
        assert done(server, Wish("load", "m", "")) == "m: loading on n, fits free memory"
        assert done(server, Wish("unload", "m", "n")) == "m: draining on n"
        assert done(server, Wish("drain", "", "a/b")) == "a/b: nothing new is placed there"
        assert [body for _, body in here.seen] == [
            {"model": "m", "node": None, "wait": False},
            {"model": "m", "node": "n", "wait": False},
            {},
        ]


def test_once_is_text_of_everything(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with desk(**ONCE) as here:
        assert top(here.url, {}, once=True) == 0
    out = capsys.readouterr().out
    assert out.startswith("cortex degraded, 2/3 nodes")
    assert all(len(line) <= 120 for line in out.splitlines())
    assert "\x1b" not in out


def test_once_fails_where_nobody_answers() -> None:
    with pytest.raises(UpstreamUnreachable):
        top("http://127.0.0.1:1", {}, once=True)


def test_a_key_that_does_not_hold_is_told_before_anything_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortex.cli.top.command.can_paint", lambda _: True)
    refusal = (401, {"error": {"code": "unauthorized", "message": "show a key"}})
    with desk(GET_admin_v1_nodes=[refusal]) as here, pytest.raises(UpstreamError, match="401: show a key"):
        top(here.url, {}, once=False)

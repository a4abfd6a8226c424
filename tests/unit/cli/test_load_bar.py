"""How far a load is, for whoever sees it."""

import io
import sys
import threading

import pytest
from tests.unit.cli.desk import desk

from cortex.cli.client import gateway
from cortex.cli.load_bar import INTERRUPTED, Far, bar, far_of, going_on, watched
from cortex.cli.steer import load

ANSWER = {"model": "org/m", "node": "beast", "status": "loaded", "reason": ""}


class Terminal(io.StringIO):
    """Looks like a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let the streams be terminals from now on; return what is written on standard error."""
    err = Terminal()
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return err


def a_load(node: str, progress: float | None) -> dict[str, object]:
    return {"node": node, "for_s": 3.0, "progress": progress}


def test_of_several_loads_the_furthest_counts() -> None:
    assert far_of({"loading": [a_load("a", 0.2), a_load("b", 0.7), a_load("c", None)]}) == Far("loading on b", 0.7)
    assert far_of({"loading": [a_load("a", None)]}) == Far("loading on a")
    assert far_of({"loading": [], "status": "unloaded"}) == Far("waiting for room, or its turn")


def test_a_terminal_sees_the_bar_and_no_markup_or_control_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with bar("[red]m\x1b[2J") as tell:
        assert tell is not None
        tell(Far("loading on beast", 0.4))
    seen = terminal.getvalue()
    assert "[red]m?[2J: loading on beast" in seen
    assert "40%" in seen
    assert "\x1b[2J" not in seen


def test_who_pipes_the_output_sees_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(POST_admin_v1_load=ANSWER) as here:
        load(gateway(here.url, {}), "org/m", None, wait=True, as_json=False)
        assert [call for call, _ in here.seen] == ["POST /admin/v1/load"]
    told = capsys.readouterr()
    assert (told.out, told.err) == ("org/m: loaded on beast\n", "")


@pytest.mark.parametrize(("key", "value"), [("TERM", "dumb"), ("as_json", "")])
def test_neither_does_a_dumb_terminal_nor_a_script(monkeypatch: pytest.MonkeyPatch, key: str, value: str) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv(key, value)
    with bar("m", as_json=key == "as_json") as tell:
        assert tell is None
    assert terminal.getvalue() == ""


def test_the_gateway_is_asked_how_far_it_is_while_somebody_waits() -> None:
    seen: list[Far] = []
    told = threading.Event()

    def tell(far: Far) -> None:
        seen.append(far)
        told.set()

    with desk(**{"GET_admin_v1_models_org%2Fm": {"loading": [a_load("beast", 0.25)]}}) as here:
        with watched(gateway(here.url, {}), "org/m", tell):
            assert told.wait(30)
        assert seen[0] == Far("loading on beast", 0.25)


def test_ctrl_c_leaves_the_load_going_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, going_on("cortex load", "org/m"):
        raise KeyboardInterrupt
    assert ended.value.code == INTERRUPTED
    assert "org/m: the load goes on" in capsys.readouterr().err

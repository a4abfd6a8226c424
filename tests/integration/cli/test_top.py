"""``cortex top`` on a terminal, against a real fleet of one node with a real engine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from tests.integration.cli.local_fleet import LocalFleetProcess, local_fleet
from tests.integration.cli.screen import LEAVE, on_screen
from tests.port import free_port

MODEL = "cortex-demo"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFleetProcess]:
    with local_fleet(tmp_path_factory.mktemp("top")) as running:
        running.wait_until("cortex is up")
        yield running


def ask(url: str) -> None:
    body = {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def test_it_shows_the_fleet_and_what_happens_and_gives_the_terminal_back(fleet: LocalFleetProcess) -> None:
    with on_screen("top", "--url", fleet.url) as screen:
        seen = screen.wait_until(r"cortex ok, 1/1 nodes")
        screen.wait_until(r"local +healthy")
        screen.wait_until(rf"{MODEL} +local +loaded")
        screen.wait_until(r"placement +cortex-demo")
        assert "overview" in seen
        screen.press(b"4")
        screen.wait_until(r"REQUEST +MODEL")
        before = screen.text().count(" ok ")
        ask(fleet.url)
        screen.wait_until(rf"( ok [\s\S]*){{{before + 1}}}")
        screen.press(b"/zzz\r")
        screen.wait_until("nothing fits the filter")
        screen.press(b"\x1b")
        screen.wait_until(f"{MODEL} +local")
        screen.press(b"3\x1b[B\r")
        screen.wait_until(r"instance cortex-demo on local")
        screen.press(b"q")
        screen.wait_until(r"MODEL +NODE")
        screen.resize(60, 12)
        assert MODEL in screen.wait_until_high(12)
        screen.press(b"q")
        assert screen.end() == 0
        assert screen.written.endswith(LEAVE)
        assert screen.settings_now() == screen.settings


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_with_the_terminal_as_it_was(
    fleet: LocalFleetProcess, number: signal.Signals, code: int
) -> None:
    with on_screen("top", "--url", fleet.url) as screen:
        screen.wait_until(MODEL)
        screen.process.send_signal(number)
        assert screen.end() == code
        assert screen.written.endswith(LEAVE)
        assert screen.settings_now() == screen.settings


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(fleet: LocalFleetProcess) -> None:
    with on_screen("top", "--url", fleet.url) as screen:
        screen.wait_until(MODEL)
        screen.process.send_signal(signal.SIGTSTP)
        screen.wait_until_written(LEAVE)
        screen.wait_until_stopped()
        assert screen.settings_now() == screen.settings
        screen.written = b""
        screen.process.send_signal(signal.SIGCONT)
        screen.wait_until(MODEL)
        screen.press(b"q")
        assert screen.end() == 0


def test_ctrl_c_ends_it(fleet: LocalFleetProcess) -> None:
    with on_screen("top", "--url", fleet.url) as screen:
        screen.wait_until(MODEL)
        screen.press(b"\x03")
        assert screen.end() == 0
        assert screen.settings_now() == screen.settings


def test_a_model_is_unloaded_and_loaded_after_a_question(fleet: LocalFleetProcess) -> None:
    with on_screen("top", "--url", fleet.url, NO_COLOR="1") as screen:
        screen.wait_until(rf"{MODEL} +local +loaded")
        screen.press(b"3\x1b[Bu")
        screen.wait_until(f"unload {MODEL} from local")
        screen.press(b"n")
        screen.wait_until("nothing done")
        screen.press(b"u")
        screen.wait_until(f"unload {MODEL} from local")
        screen.press(b"y")
        screen.wait_until("no model is loaded")
        screen.press(f"l{MODEL}\r".encode())
        screen.wait_until(f"load {MODEL}")
        screen.press(b"y")
        screen.wait_until(rf"{MODEL} +local +loaded")
        screen.press(b"q")
        assert screen.end() == 0
        assert b"\x1b[0;3" not in screen.written


@contextlib.contextmanager
def own_gateway(fleet: LocalFleetProcess, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run one more gateway over the fleet's neuron, which can be killed."""
    words = fleet.child(" serve ").command.split()
    options = ("--config", words[words.index("--config") + 1], "--metrics-listen", "127.0.0.1:0")
    command = [sys.executable, "-P", "-m", "cortex", "serve", *options, "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_gateway_that_goes_and_comes_back(fleet: LocalFleetProcess) -> None:
    port = free_port()
    with on_screen("top", "--url", f"http://127.0.0.1:{port}") as screen:
        screen.wait_until(r"gateway does not answer, since \d\d:\d\d:\d\d .*Connection refused")
        with own_gateway(fleet, port):
            screen.wait_until(rf"{MODEL} +local +loaded")
            screen.wait_until("does not answer", is_there=False)
        seen = screen.wait_until("gateway does not answer, since")
        assert MODEL in seen  # what was known stays
        with own_gateway(fleet, port):
            screen.wait_until("does not answer", is_there=False)
        screen.press(b"q")
        assert screen.end() == 0
        assert screen.settings_now() == screen.settings


def test_a_terminal_that_cannot_be_painted_on_gets_text(fleet: LocalFleetProcess) -> None:
    with on_screen("top", "--url", fleet.url, TERM="dumb") as screen:
        screen.wait_until_written(b"cortex ok, 1/1 nodes")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0
        assert b"\x1b" not in screen.written


def test_a_load_on_a_terminal_leaves_one_line(fleet: LocalFleetProcess) -> None:
    with on_screen("load", MODEL, "--url", fleet.url) as screen:
        screen.wait_until_written(f"{MODEL}: loaded on local".encode())
        assert screen.end() == 0
        assert f"{MODEL}: asking".encode() in screen.written


def test_once_prints_everything_and_ends(fleet: LocalFleetProcess) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cortex", "top", "--once", "--url", fleet.url],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cortex ok, 1/1 nodes")
    assert MODEL in done.stdout
    assert "\x1b" not in done.stdout

"""``cortex up`` with real processes and the real engine: it serves, and whatever happens it leaves nothing behind."""

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest
from tests.integration.cli.local_fleet import LocalFleetProcess, local_fleet

UP = "cortex is up"
LAST = "/path/to/model.gguf"


def ask(fleet: LocalFleetProcess) -> str:
    body = {"model": "cortex-demo", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello!"}]}
    request = urllib.request.Request(
        f"{fleet.url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def test_it_serves_what_it_says_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with local_fleet(tmp_path) as fleet:
        fleet.wait_until(UP)
        fleet.wait_until(LAST)
        said = "\n".join(fleet.lines)
        assert f"{fleet.url}/v1" in said
        assert "talks nonsense" in said
        assert ask(fleet)
        processes = fleet.descendants()
        assert [
            word for word in ("cortex.cli.neuron", "cortex serve", "embedded") if not is_among(word, processes)
        ] == []
        fleet.send(signal.SIGINT)
        code, rest = fleet.finish()
        # The guide's closing blank line may have been read with the lines before it, or not.
        assert (code, rest.strip().splitlines()) == (0, ["stopping (again to stop at once)"])
        assert [process for process in processes if process.is_running()] == []
    assert list((tmp_path / "tmp").iterdir()) == []


def is_among(word: str, processes: list[tuple[int, int, str]]) -> bool:
    return any(word in command for _, _, command in processes)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_other_ways_of_being_told_to_stop_are_as_clean(tmp_path: Path, number: signal.Signals) -> None:
    with local_fleet(tmp_path) as fleet:
        fleet.wait_until(LAST)
        processes = fleet.descendants()
        fleet.send(number)
        assert fleet.finish()[0] == 0
        assert [process for process in processes if process.is_running()] == []


def test_a_terminal_that_is_closed_stops_it_also_when_no_signal_comes(tmp_path: Path) -> None:
    ours, its = os.openpty()
    try:
        with local_fleet(tmp_path, stdin=its) as fleet:
            fleet.wait_until(LAST)
            processes = fleet.descendants()
            os.write(ours, b"typed\n")
            assert ask(fleet), "typing is no reason to stop"
            os.close(ours)
            ours = -1
            assert fleet.finish()[0] == 0
            assert [process for process in processes if process.is_running()] == []
    finally:
        for descriptor in {ours, its} - {-1}:
            os.close(descriptor)


def test_stopped_while_it_starts_it_leaves_nothing(tmp_path: Path) -> None:
    with local_fleet(tmp_path) as fleet:
        fleet.wait_until("starting a gateway")
        fleet.send(signal.SIGINT)
        fleet.finish()
        assert fleet.descendants() == []


def test_killed_it_takes_everything_with_it(tmp_path: Path) -> None:
    with local_fleet(tmp_path) as fleet:
        fleet.wait_until(LAST)
        processes = fleet.descendants()
        assert len(processes) == 3
        fleet.send(signal.SIGKILL)
        fleet.finish()
        assert [process for process in processes if not process.ended()] == []


@pytest.mark.parametrize(("words", "name"), [("cortex serve", "gateway"), ("cortex.cli.neuron", "neuron")])
def test_when_one_daemon_dies_the_rest_goes_too_and_it_is_said(tmp_path: Path, words: str, name: str) -> None:
    with local_fleet(tmp_path) as fleet:
        fleet.wait_until(LAST)
        processes = fleet.descendants()
        os.kill(fleet.child(words).pid, signal.SIGKILL)
        code, rest = fleet.finish()
        assert code == 1
        assert f"cortex up: the {name} was killed by SIGKILL" in rest
        assert [process for process in processes if not process.ended()] == []


def test_a_second_one_on_the_same_port_names_the_first_and_leaves_it_alone(tmp_path: Path) -> None:
    with local_fleet(tmp_path) as first:
        first.wait_until(LAST)
        with local_fleet(tmp_path, port=first.port) as second:
            code, said = second.finish()
        assert code == 1
        assert f"port {first.port} on 127.0.0.1 is in use by process {first.child('cortex serve').pid} (" in said
        assert "choose another port, for example with --port " in said
        assert ask(first)


def test_two_fleets_run_side_by_side(tmp_path: Path) -> None:
    with local_fleet(tmp_path) as first, local_fleet(tmp_path) as second:
        first.wait_until(LAST)
        second.wait_until(LAST)
        second.send(signal.SIGINT)
        assert second.finish()[0] == 0
        assert ask(first)


def test_a_model_that_the_engine_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    with local_fleet(tmp_path, "--model", "broken.gguf") as fleet:
        code, said = fleet.finish()
        assert code == 1
        assert "broken could not be loaded: " in said
        assert fleet.descendants() == []

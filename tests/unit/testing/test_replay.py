"""``cortex replay`` as it is told of in docs/replay.md, and what it says of a small fleet."""

import json
import logging
import re
from pathlib import Path

import pytest

from cortex.testing.replay import main

PAGE = Path(__file__).parents[3] / "docs" / "replay.md"
CATALOGUE = """
[[models]]
id = "org/coder"
harness = "llamacpp"
vram_mb = 20000

[[models]]
id = "org/chat"
harness = "mistralrs"
vram_mb = 20000
aliases = ["chat"]
"""


def shown() -> list[str]:
    """Return the blocks of the page that are no commands: a trace, a fleet, what is told."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [text for kind, text in blocks if kind != "sh"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write down the trace and the fleet that stand in the page."""
    trace, fleet, _ = shown()
    (tmp_path / "trace.jsonl").write_text(trace)
    (tmp_path / "fleet.toml").write_text(fleet)
    (tmp_path / "models.toml").write_text(CATALOGUE)
    return tmp_path


def replayed(files: Path, *options: str) -> list[str]:
    names = ("trace.jsonl", "models.toml", "fleet.toml")
    trace, catalogue, fleet = (str(files / name) for name in names)
    return [trace, "--catalogue", catalogue, "--nodes", fleet, *options]


def test_the_example_of_the_page_is_so(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replayed(files, "--add-node", "quadbrat=24000")) == 0
    told = capsys.readouterr().out.splitlines()
    expected = shown()[2].splitlines()
    assert [line.split() for line in told[1 : len(expected)]] == [line.split() for line in expected[1:]]


def test_one_more_card_spares_loads(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replayed(files, "--add-node", "quadbrat=24000", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    before, after = told["as it is"], told["changed"]
    assert before["evictions"] >= 3
    assert (after["evictions"], after["loads"]) == (0, {"beast": 1, "quadbrat": 1})
    assert before["cold_starts"] > after["cold_starts"]
    assert before["wait_max_s"] >= 30, "a load of the coder takes that long"


def test_without_a_change_the_trace_is_played_once(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replayed(files, "--json")) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["as it is"]


def test_the_same_trace_ends_the_same(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for _ in range(2):
        main(replayed(files, "--json"))
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]


def test_what_is_wrong_is_said_in_one_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replayed(files, "--add-node", "quadbrat")) == 1
    assert (
        capsys.readouterr().err
        == "cortex replay: --add-node: expected NAME=MBxCOUNT, like beast=32000x2, got 'quadbrat'\n"
    )


def test_why_requests_were_refused_is_told_with_the_first_of_each_kind(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = files / "trace.jsonl"
    trace.write_text(trace.read_text().replace("org/chat", "org/chap"))
    options = replayed(files, "--add-node", "quadbrat=24000")
    assert main(options) == 0
    told = capsys.readouterr().out
    assert re.search(r"^refused: model_not_found +3 +3$", told, re.MULTILINE)
    assert re.search(r"^model_not_found, the first: .*'org/chap'", told, re.MULTILINE)
    assert main([*options, "--json"]) == 0
    refusals = json.loads(capsys.readouterr().out)["as it is"]["refusals"]
    assert refusals["model_not_found"]["count"] == 3
    assert "org/chap" in refusals["model_not_found"]["first"]


def test_a_fleet_without_nodes_says_so(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replayed(files, "--remove-node", "beast", "--json")) == 0
    (refusals,) = json.loads(capsys.readouterr().out)["changed"]["refusals"].values()
    assert refusals["count"] == 6


def test_whoever_called_it_may_log_again(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    main(replayed(files))
    logging.getLogger("cortex.after").warning("here")
    assert "here" in caplog.text

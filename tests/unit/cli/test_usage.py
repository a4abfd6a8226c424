"""``cortex usage``: what is asked of the gateway, and how the sums are shown."""

import json

import pytest
from tests.unit.cli.desk import Answer, desk
from typer.testing import CliRunner

from cortex.cli.command import app

SUM = {
    "key": None,
    "model": "org/m",
    "node": None,
    "day": "2026-11-26",
    "operation": None,
    "requests": 12,
    "failed": 1,
    "cold_starts": 2,
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "duration_s": 7200.0,
    "mean_first_token_s": None,
}
REPORT = {"since_epoch_s": 0.0, "until_epoch_s": 1.0, "by": ["day", "model"], "sums": [SUM], "more": False}
ASKED = "GET /admin/v1/usage?by=day%2Cmodel&since=7d&limit=10000"
ARGV = ("usage", "--by", "day,model")


def call(answer: Answer, *argv: str, asked: str = ASKED) -> tuple[int, str]:
    with desk() as here:
        here.answers[asked] = [answer]
        result = CliRunner().invoke(app, [*argv, "--url", here.url])
    return result.exit_code, result.output


def test_sums_are_shown_as_a_table() -> None:
    code, out = call((200, REPORT), *ARGV)
    assert code == 0
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "day model requests failed cold prompt completion total hours first token s",
        "2026-11-26 org/m 12 1 2 100 50 150 2.00 -",
    ]


def test_that_there_is_nothing_is_said() -> None:
    assert "no such request in that time" in call((200, REPORT | {"sums": []}), *ARGV)[1]


def test_that_there_is_more_is_said() -> None:
    assert "the first 10000 groups" in call((200, REPORT | {"more": True}), *ARGV)[1]


def test_scripts_get_csv_or_json() -> None:
    code, out = call((200, REPORT), *ARGV, "--csv")
    assert (code, out.splitlines()[1]) == (0, "2026-11-26,org/m,12,1,2,100,50,150,7200.0,")
    code, out = call((200, REPORT), *ARGV, "--json")
    assert (code, json.loads(out)) == (0, REPORT)
    assert call((200, REPORT), *ARGV, "--json", "--csv") == (1, "cortex usage: --csv and --json: choose one\n")


def test_everything_that_narrows_it_down_reaches_the_gateway() -> None:
    query = "by=key%2Cmodel&since=2026-11-01&until=1h&key=alice&model=org%2Fm&node=beast&limit=10000"
    argv = ("usage", "--since", "2026-11-01", "--until", "1h", "--key", "alice", "--model", "org/m", "--node", "beast")
    assert call((200, REPORT), *argv, "--json", asked=f"GET /admin/v1/usage?{query}")[0] == 0


@pytest.mark.parametrize("words", ["Usage is not kept: this gateway has no store."])
def test_a_gateway_without_a_store_says_so(words: str) -> None:
    code, out = call((400, {"error": {"message": words}}), *ARGV)
    assert (code, words in out) == (1, True)

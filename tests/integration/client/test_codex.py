"""Codex, run headless against a scripted engine: what it asks is understood, and it does what it is told.

``npm install @openai/codex`` has it; ``codex`` is looked for on the path. Run with 0.171.0 (2026-11).
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.integration.client.conftest import ClientFleet
from tests.integration.client.scripted_engine import SCRIPTED, Script, breaks_after, by, calls, calls_raw, refuses, says

LIMIT_S = 60

CONFIG = """
model = "{model}"
model_provider = "cortex"

[model_providers.cortex]
name = "cortex"
base_url = "{url}/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""


class Codex:
    """``codex exec`` in folders of its own."""

    def __init__(self, program: str, folder: Path, url: str) -> None:
        self._program = program
        self._home, self._work = folder / "home", folder / "work"
        for made in (self._home, self._work):
            made.mkdir()
        (self._home / "config.toml").write_text(CONFIG.format(model=SCRIPTED, url=url))

    def run(self, prompt: str) -> "subprocess.CompletedProcess[str]":
        options = ["--skip-git-repo-check", "--sandbox", "danger-full-access"]
        env = {"HOME": str(self._home), "CODEX_HOME": str(self._home), "PATH": os.environ["PATH"]}
        return subprocess.run(
            [self._program, "exec", *options, prompt],
            cwd=self._work,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


@pytest.fixture(scope="session", autouse=True)
def codex_program() -> str:
    """Where it is; looked for before a fleet is started."""
    found = shutil.which("codex")
    if found is None:
        pytest.skip("no Codex here (npm install -g @openai/codex)")
    return found


@pytest.fixture
def codex(codex_program: str, fleet: ClientFleet, tmp_path: Path) -> Codex:
    return Codex(codex_program, tmp_path, fleet.url)


def roles(asked: dict[str, Any]) -> list[str]:
    return [message["role"] for message in asked["messages"]]


def test_a_prompt_is_answered(fleet: ClientFleet, codex: Codex) -> None:
    fleet.engine.use(says("All ", "is well.", reasoning="I look."))
    done = codex.run("How are you?")
    assert (done.returncode, done.stdout.strip()) == (0, "All is well."), done.stderr
    assert "I look." in done.stderr
    asked = fleet.engine.last
    assert roles(asked) == ["system", "user"]
    assert asked["messages"][1]["content"].endswith("How are you?")
    assert all(tool["type"] == "function" for tool in asked["tools"])


def test_a_tool_is_run_and_its_result_given_back(fleet: ClientFleet, codex: Codex) -> None:
    def choose(asked: dict[str, Any]) -> Script:
        if roles(asked)[-1] == "tool":
            return says("It said so.")
        return calls(("exec_command", {"cmd": "echo from-a-tool"}), text="I run it.")

    fleet.engine.use(by(choose))
    done = codex.run("run it")
    assert (done.returncode, done.stdout.strip()) == (0, "It said so."), done.stderr
    told = fleet.engine.last["messages"]
    assert [message["role"] for message in told] == ["system", "user", "assistant", "tool"]
    assert told[2]["content"] == "I run it."
    assert told[3]["tool_call_id"] == told[2]["tool_calls"][0]["id"]
    assert "from-a-tool" in told[3]["content"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            refuses(
                "400 Bad Request",
                {
                    "error": {
                        "code": 400,
                        "message": "the request exceeds the available context size",
                        "type": "exceed_context_size_error",
                        "n_prompt_tokens": 9000,
                        "n_ctx": 4096,
                    }
                },
            ),
            "Codex ran out of room in the model's context window",
        ),
        (breaks_after("It ", "rai"), "The engine closed the connection in the middle of its answer"),
        (calls_raw(("exec_command", '{"cmd": "touch cut'), text="I"), "The model's tool call broke off"),
        (says("half an ans", finish="length"), "Incomplete response returned, reason: max_output_tokens"),
    ],
    ids=["context", "lost", "cut call", "length"],
)
def test_what_went_wrong_is_told_and_nothing_is_run(
    fleet: ClientFleet, codex: Codex, script: Script, words: str, tmp_path: Path
) -> None:
    fleet.engine.use(script)
    done = codex.run("run it")
    assert done.returncode == 1
    assert words in done.stderr
    assert list((tmp_path / "work").iterdir()) == []

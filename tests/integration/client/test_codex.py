"""Codex, headless, against a real gateway and a scripted engine. Skipped where it is not installed.

Source of what is expected: Codex 0.171.0, run 2026-11.
"""

from pathlib import Path

import pytest
from tests.integration.client.conftest import ClientFleet
from tests.integration.client.program import Ran, find_program, run_program
from tests.integration.client.scripted_engine import BUSY, SCRIPTED, breaks_after, by, calls, refuses, results_in, says


@pytest.fixture(scope="session")
def codex() -> str:
    return find_program("codex", "CORTEX_TEST_CODEX")


@pytest.fixture
def ask(codex: str, fleet: ClientFleet, tmp_path: Path):
    """Ask Codex something, as a script would."""
    provider = f'{{name="cortex", base_url="{fleet.url}/v1", wire_api="responses", env_key="CORTEX_KEY"}}'

    def asking(prompt: str) -> Ran:
        words = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        settings = ["-c", "model_provider=cortex", "-c", f"model_providers.cortex={provider}", "-m", SCRIPTED]
        return run_program(tmp_path / "home", [codex, *words, *settings, prompt], CORTEX_KEY="none")

    return asking


def test_a_prompt_is_answered(fleet: ClientFleet, ask) -> None:
    fleet.engine.use(says("Hello from ", "the engine."))
    assert ask("Say hello")[:2] == (0, "Hello from the engine.\n")


def test_a_tool_is_run_and_its_result_comes_back(fleet: ClientFleet, ask) -> None:
    call = calls(("exec_command", {"cmd": "echo cortex-$((20 + 22))"}), text="I look.")
    fleet.engine.use(by(lambda body: says("It is done.") if results_in(body) else call))
    assert ask("Run it")[:2] == (0, "It is done.\n")
    assert "cortex-42" in results_in(fleet.engine.last)[0]


def test_an_overloaded_fleet_is_asked_again(fleet: ClientFleet, ask) -> None:
    fleet.engine.use(refuses("503 Service Unavailable", BUSY), says("Now there is room."))
    assert ask("Say hello")[:2] == (0, "Now there is room.\n")


def test_a_stream_that_is_cut_is_asked_for_again(fleet: ClientFleet, ask) -> None:
    fleet.engine.use(breaks_after("Half an"), says("A whole answer."))
    ran = ask("Say hello")
    assert ran.code == 0
    assert ran.out.endswith("A whole answer.\n")

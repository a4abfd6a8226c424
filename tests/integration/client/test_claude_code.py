"""Claude Code, headless, against a real gateway and a scripted engine. Skipped where it is not installed.

Source of what is expected: Claude Code 2.1.197, run 2026-11.
"""

from pathlib import Path
from typing import Any

import pytest
from tests.integration.client.conftest import ClientFleet
from tests.integration.client.program import Ran, find_program, run_program
from tests.integration.client.scripted_engine import (
    BUSY,
    OVERFLOW,
    SCRIPTED,
    breaks_after,
    by,
    calls,
    calls_raw,
    refuses,
    results_in,
    says,
)


@pytest.fixture(scope="session")
def claude() -> str:
    return find_program("claude", "CORTEX_TEST_CLAUDE")


@pytest.fixture
def ask(claude: str, fleet: ClientFleet, tmp_path: Path):
    """Ask Claude Code something, as a script would."""

    def asking(prompt: str, *options: str) -> Ran:
        return run_program(
            tmp_path / "home",
            [claude, "-p", prompt, "--model", SCRIPTED, *options],
            ANTHROPIC_BASE_URL=fleet.url,
            ANTHROPIC_AUTH_TOKEN="none",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            CLAUDE_CODE_ATTRIBUTION_HEADER="0",
        )

    return asking


def with_tool(name: str, first, then):
    """Answer the first turn of a conversation that has the tool with ``first``, later ones with ``then``."""

    def choose(body: dict[str, Any]):
        names = [tool["function"]["name"] for tool in body.get("tools", ())]
        if results_in(body):
            return then
        return first if name in names else says("no tools")

    return by(choose)


def test_a_prompt_is_answered(fleet: ClientFleet, ask) -> None:
    fleet.engine.use(says("Hello from ", "the engine."))
    assert ask("Say hello")[:2] == (0, "Hello from the engine.\n")


def test_a_tool_is_run_and_its_result_comes_back(fleet: ClientFleet, ask) -> None:
    wanted = {"command": "echo cortex-$((20 + 22))", "description": "counts"}
    fleet.engine.use(with_tool("Bash", calls(("Bash", wanted), text="I look."), says("It is done.")))
    assert ask("Run it", "--allowedTools", "Bash")[:2] == (0, "It is done.\n")
    assert any("cortex-42" in said for said in results_in(fleet.engine.last))


def test_two_tools_at_once_are_both_answered(fleet: ClientFleet, ask) -> None:
    wanted = [("Bash", {"command": f"echo part-{number}", "description": "says"}) for number in (1, 2)]
    fleet.engine.use(with_tool("Bash", calls(*wanted), says("Both are done.")))
    assert ask("Run both", "--allowedTools", "Bash")[:2] == (0, "Both are done.\n")
    first, second = results_in(fleet.engine.last)
    assert "part-1" in first
    assert "part-2" in second


def test_a_cold_start_is_waited_for(fleet: ClientFleet, ask) -> None:
    fleet.engine.use(says("Up at last."))
    fleet.engine.make_cold()
    assert ask("Say hello")[:2] == (0, "Up at last.\n")
    assert fleet.engine.neuron.models[SCRIPTED].status == "loaded"


def test_a_prompt_that_is_too_long_is_told_in_its_own_words_and_not_sent_again(fleet: ClientFleet, ask) -> None:
    fleet.engine.use(refuses("400 Bad Request", OVERFLOW))
    ran = ask("Say hello")
    assert ran.code != 0
    assert "Prompt is too long" in ran.out
    assert len(fleet.engine.asked) == 1


def test_an_overloaded_fleet_is_asked_again(fleet: ClientFleet, ask) -> None:
    fleet.engine.use(refuses("503 Service Unavailable", BUSY), says("Now there is room."))
    assert ask("Say hello")[:2] == (0, "Now there is room.\n")


def test_a_stream_that_is_cut_is_asked_for_again_as_a_whole(fleet: ClientFleet, ask) -> None:
    fleet.engine.use(by(lambda body: breaks_after("Half an") if body.get("stream") else says("A whole answer.")))
    assert ask("Say hello")[:2] == (0, "A whole answer.\n")


def test_a_call_that_was_cut_is_not_run_and_does_not_loop(fleet: ClientFleet, ask) -> None:
    """Given as it came, it was asked for 776 times in 24 seconds (measured 2026-10)."""
    cut = calls_raw(("Bash", '{"command": "touch ran; echo'))
    fleet.engine.use(with_tool("Bash", cut, says("never")), with_tool("Bash", says("Then without."), says("never")))
    assert ask("Run it", "--allowedTools", "Bash")[:2] == (0, "Then without.\n")
    assert len(fleet.engine.asked) == 2

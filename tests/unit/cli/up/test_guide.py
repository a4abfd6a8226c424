"""What a person reads once their fleet is up."""

import shlex
from pathlib import Path

import msgspec
import pytest

from cortex.cli.up import guide as module
from cortex.cli.up.guide import guide
from cortex.cli.up.model import LocalModel
from cortex.cli.up.plan import Plan

PLAN = Plan(
    model=LocalModel(id="a/b", source="/m.gguf"),
    home=Path("/run/x"),
    port=8000,
    neuron_port=1,
    metrics_port=2,
    engine_port=None,
)


def test_the_curl_command_can_be_pasted() -> None:
    (line,) = (part for part in guide(PLAN, ["cortex"]).replace("\\\n", " ").splitlines() if "curl" in part)
    words = shlex.split(line)
    assert words[:3] == ["curl", "-N", "http://127.0.0.1:8000/v1/chat/completions"]
    body = msgspec.json.decode(words[words.index("-d") + 1])
    assert (body["model"], body["stream"]) == ("a/b", True)


def test_the_sdk_is_pointed_at_the_right_base() -> None:
    text = guide(PLAN, ["cortex"])
    assert 'OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")' in text
    assert "export OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none" in text
    assert "http://127.0.0.1:2/metrics" in text


def test_only_of_the_demo_model_it_is_said_that_it_talks_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    assert "nonsense" not in guide(PLAN, ["cortex"])
    demo = msgspec.structs.replace(PLAN, model=LocalModel(id="cortex-demo", source="/d.gguf", is_demo=True))
    text = guide(demo, [".venv/bin/cortex"])
    assert "The demo model talks nonsense" in text
    assert "\n  .venv/bin/cortex up --model hf:" in text


@pytest.mark.parametrize(
    ("found", "called", "program"),
    [("/usr/bin/cortex", "/x/cortex", "cortex"), (None, "/x/__main__.py", "python3 -m cortex")],
)
def test_the_program_is_named_as_it_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, found: str | None, called: str, program: str
) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: found)
    monkeypatch.setattr(module.sys, "executable", "python3")
    demo = msgspec.structs.replace(PLAN, model=LocalModel(id="cortex-demo", source="/d.gguf", is_demo=True))
    assert f"\n  {program} up --model " in guide(demo, [called])

"""What a person reads once a local fleet is up: where it is, how to try it, how to point their tools at it."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cortex.cli.up.plan import Plan

EXAMPLE = "hf:Qwen/Qwen3-0.6B-GGUF"

_GUIDE = """
cortex is up: one gateway, one neuron, one engine on this machine. Ctrl-C stops all of them.

  base URL  {url}/v1
  dashboard {url}/
  model     {model}
  metrics   {metrics}
  logs      {logs}

Try it:
  curl -N {url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

Point the openai SDK at it:
  OpenAI(base_url="{url}/v1", api_key="none")
  or: export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY=none
"""

_DEMO = """
The demo model talks nonsense: its weights are random numbers. For a real one, stop this and say
  {program} up --model {example}       (downloads it once)
  {program} up --model /path/to/model.gguf
"""


def guide(plan: Plan, argv: Sequence[str]) -> str:
    """Return the text for a fleet that is up; ``argv`` tells how this program was called."""
    text = _GUIDE.format(url=plan.gateway_url, model=plan.model.id, metrics=plan.metrics_url, logs=plan.home)
    return text + _DEMO.format(program=_program(argv), example=EXAMPLE) if plan.model.is_demo else text


def _program(argv: Sequence[str]) -> str:
    """Return what to type for ``cortex``: its name when that is found, else as it was called."""
    if shutil.which("cortex"):
        return "cortex"
    called = Path(argv[0])
    return f"{sys.executable} -m cortex" if called.name == "__main__.py" else str(called)

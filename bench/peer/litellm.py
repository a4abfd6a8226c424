"""LiteLLM's proxy (Python): the gateway that most people have today.

One worker, one OpenAI-compatible model, a master key and no database: its lightest set-up. It cannot carry the common
load, so its pace is its own.
"""

import json

from bench.dialect import ANTHROPIC, OLLAMA, RESPONSES
from bench.peer import environment
from bench.peer.interface import KEY, MODEL, Pace, Running, Site, wait_ready
from bench.port import free_port

PACKAGE = "litellm"

ENV = {
    "LITELLM_MASTER_KEY": KEY,
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    # Prices come from its own package instead of the network.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # Else it asks an OpenAI engine for Responses when a client speaks Anthropic's dialect, and the upstream has none.
    "LITELLM_USE_CHAT_COMPLETIONS_URL_FOR_ANTHROPIC_MESSAGES": "True",
}

PATHS = {ANTHROPIC.name: ANTHROPIC.path}
REASONS = {
    RESPONSES.name: "it passes Responses on to OpenAI engines as they are, and the upstream has chat only",
    OLLAMA.name: "it has no such endpoint",
}


class LiteLlm:
    name = "LiteLLM"
    about = "`litellm --config … --num_workers 1`, one `openai/` model, master key, no database"
    pace = Pace(
        open_streams=500,
        connections=8,
        streams=5,
        opening=8,
        idle_interval_s=60.0,
        slow_readers=2,
        slow_chunks=2_000,
        is_common=False,
    )
    starts = 1

    def install(self) -> str:
        return environment.install(PACKAGE, "[proxy]")

    def start(self, site: Site) -> Running:
        port = free_port()
        config = site.folder / "config.yaml"
        config.write_text(json.dumps(_config(site.upstream_port)))  # JSON is YAML
        argv = [environment.program("litellm"), "--config", config, "--host", "127.0.0.1", "--port", str(port)]
        child = site.gateway_child([*argv, "--num_workers", "1"], env=ENV)
        ready_s = wait_ready(child, port, "/health/readiness", 180)
        return Running(self.name, port, child, ready_s, self.pace, paths=PATHS, reasons=REASONS)


def _config(upstream_port: int) -> dict[str, object]:
    engine = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "sk-engine"}
    return {"model_list": [{"model_name": MODEL, "litellm_params": engine}]}

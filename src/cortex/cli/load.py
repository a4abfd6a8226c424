"""``cortex load`` and ``cortex unload``: an operator's hand on one neuron, past every gateway.

The gateways learn of it with their next poll.
"""

import time
from collections.abc import Callable
from typing import Any

from cortex.cli.client import Server
from cortex.cli.load_bar import Far, Tell, bar, going_on
from cortex.contract.error import ConfigError, LoadFailed
from cortex.contract.instance import LoadRequest, UnloadRequest

POLL_S = 0.5


def load(neuron: Server, request: LoadRequest, *, wait: bool, sleep: Callable[[float], None] = time.sleep) -> None:
    """Load a model and, with ``wait``, watch it until it is loaded. Raises: LoadFailed with the engine's last words."""
    answer = neuron.post("/models/load", request)
    print(f"{request.model_id}: {answer['status']}")
    if answer.get("estimated_mb") is not None:
        print(f"{request.model_id}: estimated need {answer['estimated_mb']} MiB (give --vram-mb to say it)")
    if not wait or answer["status"] == "loaded":
        return
    with going_on("cortex load", request.model_id), bar(request.model_id) as tell:
        _watch(neuron, request.model_id, tell, sleep)
    print(f"{request.model_id}: loaded")


def _watch(neuron: Server, model_id: str, tell: Tell | None, sleep: Callable[[float], None]) -> None:
    """Look until it is loaded. Raises: LoadFailed."""
    while (status := (report := _report(neuron, model_id)).get("status", "unloaded")) != "loaded":
        if status not in ("loading", "draining", "unloading"):
            raise LoadFailed("\n".join(_why(model_id, report)))
        if tell is not None:
            tell(Far(status, report.get("progress")))
        sleep(POLL_S)


def unload(neuron: Server, request: UnloadRequest) -> None:
    """Unload a model; the call lasts until its memory is free unless the request says not to wait."""
    answer = neuron.post("/models/unload", request)
    print(f"{request.model_id}: {answer['status']}")


def only_harness(neuron: Server) -> str:
    """Return the node's one usable harness. Raises: ConfigError when there is not exactly one."""
    harnesses = neuron.get("/discovery", holds=("harnesses",))["harnesses"]
    if len(harnesses) == 1:
        return str(harnesses[0])
    raise ConfigError(f"--harness: choose one of the node's harnesses: {', '.join(harnesses) or 'none is usable'}")


def _report(neuron: Server, model_id: str) -> dict[str, Any]:
    return next((report for report in neuron.get("/models") if report["id"] == model_id), {})


def _why(model_id: str, report: dict[str, Any]) -> list[str]:
    error = report.get("error") or {"message": "it is no longer there; something else unloaded it"}
    return [f"{model_id}: not loaded: {error['message']}", *(f"  {line}" for line in error.get("log_tail", ())[-10:])]

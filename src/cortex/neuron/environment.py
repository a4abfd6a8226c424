"""What a neuron takes from around its process: where its state is, what its engines inherit."""

from collections.abc import Mapping
from pathlib import Path

KEPT_FROM_ENGINES = ("LLAMA_", "AIP_", "CORTEX_", "NOTIFY_", "WATCHDOG_", "LISTEN_", "CREDENTIALS_")
"""Variables that would change engines behind everyone's back, or are meant for this process alone."""


def engine_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of engines: this process's own, scrubbed."""
    return {name: value for name, value in env.items() if not name.startswith(KEPT_FROM_ENGINES)}


def state_path(configured: str | None, env: Mapping[str, str], home: Path) -> Path:
    """Return where this neuron keeps its state: as configured, as systemd says, else below the user's home."""
    if configured is not None:
        return Path(configured)
    if env.get("STATE_DIRECTORY"):
        return Path(env["STATE_DIRECTORY"].split(":")[0])
    return Path(env.get("XDG_STATE_HOME") or home / ".local" / "state") / "cortex-neuron"

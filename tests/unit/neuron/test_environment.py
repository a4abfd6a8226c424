"""Where state is kept, and what engines inherit."""

from pathlib import Path

import pytest

from cortex.neuron.environment import engine_environment, state_path

HOME = Path("/home/x")


def test_engines_inherit_all_but_what_would_change_them_or_is_not_for_them() -> None:
    env = {
        "PATH": "/bin",
        "CUDA_CACHE_PATH": "/c",
        "LLAMA_ARG_PORT": "1",
        "LLAMA_CACHE": "/l",
        "AIP_MODE": "PREDICTION",
        "CORTEX_NEURON_PORT": "9",
        "CORTEX_FLEET_TOKEN": "s3cret",
        "NOTIFY_SOCKET": "/run/n",
        "WATCHDOG_USEC": "1",
        "LISTEN_FDS": "1",
        "CREDENTIALS_DIRECTORY": "/run/credentials/cortex-neuron.service",
        "MY_LLAMA_DIR": "/m",
    }
    assert engine_environment(env) == {"PATH": "/bin", "CUDA_CACHE_PATH": "/c", "MY_LLAMA_DIR": "/m"}


@pytest.mark.parametrize(
    ("configured", "env", "expected"),
    [
        ("/srv/state", {"STATE_DIRECTORY": "/var/lib/x"}, "/srv/state"),
        (None, {"STATE_DIRECTORY": "/var/lib/x:/var/lib/y", "XDG_STATE_HOME": "/s"}, "/var/lib/x"),
        (None, {"XDG_STATE_HOME": "/s"}, "/s/cortex-neuron"),
        (None, {"XDG_STATE_HOME": ""}, "/home/x/.local/state/cortex-neuron"),
        (None, {}, "/home/x/.local/state/cortex-neuron"),
    ],
)
def test_state_is_kept_where_it_is_configured_else_where_the_system_says(
    configured: str | None, env: dict[str, str], expected: str
) -> None:
    assert state_path(configured, env, HOME) == Path(expected)

"""The command ``completion``."""

from typing import Annotated

import typer

from cortex.cli.completion import SHELLS, complete_shell, script
from cortex.cli.failure import told


def completion(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="The shell.", autocompletion=complete_shell)],
) -> None:
    """Print what a shell reads to complete commands, options, models and nodes: `source <(cortex completion bash)`."""
    from cortex.contract.error import ConfigError

    with told("cortex completion"):
        if shell not in SHELLS:
            raise ConfigError(f"'{shell}': expected one of {', '.join(SHELLS)}")
        print(script(shell), end="")

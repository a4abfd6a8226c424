"""Stands in for a program that cannot do its work where tests run: ``python stand_in NAME WORDS…``.

It holds what it is told against the repository, does what can be done without a system, a network and an account, and
ends with 1 where its words lead nowhere. tests/docs/exception.py says of each why, and where its work is shown.
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[3])

from tests.docs.stand_in import (  # noqa: E402 - it is found by the line before
    account,
    client,
    cluster,
    container,
    firewall,
    package,
    play,
    unit,
)

PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "aider": client.aider,
    "ansible-playbook": play.ansible_playbook,
    "apt": package.apt,
    "chown": account.chown,
    "claude": client.claude,
    "cn": client.cn,
    "codex": client.codex,
    "copr-cli": package.copr_cli,
    "dnf": package.dnf,
    "docker": container.docker,
    "firewall-cmd": firewall.firewall_cmd,
    "journalctl": unit.journalctl,
    "kubectl": cluster.kubectl,
    "open-webui": client.open_webui,
    "opencode": client.opencode,
    "pipx": package.pipx,
    "sudo": account.sudo,
    "systemctl": unit.systemctl,
    "uv": package.uv,
}

if __name__ == "__main__":
    name, *words = sys.argv[1:]
    try:
        PROGRAMS[name](words)
    except Exception as error:
        sys.exit(f"{name} {' '.join(words)}: {type(error).__name__}: {error}")

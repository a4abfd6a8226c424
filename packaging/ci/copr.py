"""Speaks to COPR by copr-cli, with the account of the environment: ``copr.py token`` and ``copr.py build SRPM…``.

``COPR_CONFIG`` is the text that COPR's page "API" shows, as a secret of the CI. It goes into a file that only its owner
reads, for as long as copr-cli runs, and into no output. ``COPR_PROJECT`` names the project.
"""

import datetime
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = "grenade/cortex"
WARN_DAYS = 30
"""How long before its end a token is to be renewed. COPR gives one for 180 days."""
CHROOTS = {"mistralrs": ["fedora-43-x86_64"]}
"""Where packages are built that are not built everywhere, by the begin of their names."""
TIMEOUT_S = {"mistralrs": 10 * 3600}
"""How long COPR may take for packages that take longer than its 5 hours."""
RENEW = "make a new one on COPR's page 'API', and renew the secret"
_EXPIRES = re.compile(r"^#\s*expiration date:\s*(\d{4}-\d{2}-\d{2})\s*$", re.MULTILINE)


def trouble_with(config: str, today: datetime.date) -> str | None:
    """Return what is wrong with a configuration of copr-cli, or soon will be; None: nothing."""
    missing = [key for key in ("login", "username", "token", "copr_url") if not re.search(rf"^{key}\s*=", config, re.M)]
    if missing:
        return f"COPR_CONFIG has no {', '.join(missing)}: copy the whole text of COPR's page 'API' into the secret"
    said = _EXPIRES.search(config)
    if said is None:
        return (
            "COPR_CONFIG has no line '# expiration date: …', so nobody will be warned: copy the whole text of the page"
        )
    left = (datetime.date.fromisoformat(said[1]) - today).days
    if left < 0:
        return f"the token of COPR ended on {said[1]}: {RENEW}"
    if left < WARN_DAYS:
        return f"the token of COPR ends on {said[1]}, in {left} days: {RENEW}"
    return None


def build_command(package: str, project: str) -> list[str]:
    """Return what copr-cli is told to build a source RPM; it waits, and fails when a chroot fails."""
    kind = next((name for name in CHROOTS if Path(package).name.startswith(name)), "")
    chroots = [word for chroot in CHROOTS.get(kind, []) for word in ("--chroot", chroot)]
    limit = ["--timeout", str(TIMEOUT_S[kind])] if kind in TIMEOUT_S else []
    return ["build", *chroots, *limit, project, package]


def run(config: str, *arguments: str) -> int:
    """Run copr-cli under an account; return its exit code."""
    with tempfile.NamedTemporaryFile("w", prefix="copr-", encoding="utf-8") as file:  # made with mode 0600
        file.write(config)
        file.flush()
        return subprocess.run(["copr-cli", "--config", file.name, *arguments], check=False).returncode


def main(argv: list[str]) -> int:
    match argv:
        case ["token"] | ["build", _, *_]:
            pass
        case _:
            print("usage: copr.py token | build SRPM...", file=sys.stderr)
            return 2
    config = os.environ.get("COPR_CONFIG", "")
    wrong = trouble_with(config, datetime.date.today())
    if argv[0] == "token":
        if wrong is not None:
            print(f"copr: {wrong}", file=sys.stderr)
            return 1
        return run(config, "whoami")
    if not config:
        print(f"copr: {wrong}", file=sys.stderr)
        return 1
    project = os.environ.get("COPR_PROJECT") or PROJECT
    return max(run(config, *build_command(package, project)) for package in argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

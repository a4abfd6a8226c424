"""Writes the newest release of mistral.rs into its spec, and prints it: ``mistralrs_tag.py [VERSION]``.

Prints nothing when the spec has it already. Only whole releases count (``v0.9.5``, no candidates), and never an older
one than is pinned.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

SPEC = Path(__file__).resolve().parents[1] / "mistralrs" / "mistralrs-cuda.spec"
UPSTREAM = "https://github.com/EricLBuehler/mistral.rs"
WHO = "the cortex project"
_PINNED = re.compile(r"^(Version:\s*)(\S+)$", re.MULTILINE)
_RELEASE = re.compile(r"^(Release:\s*)\d+", re.MULTILINE)
_TAG = re.compile(r"refs/tags/v(\d+)\.(\d+)\.(\d+)$")


def newest(listing: str) -> str | None:
    """Return the newest version among what ``git ls-remote --tags`` prints; None when there is none."""
    found = [tuple(map(int, match.groups())) for line in listing.splitlines() if (match := _TAG.search(line))]
    return ".".join(map(str, max(found))) if found else None


def pinned(spec: str) -> str:
    """Return the version that a spec has. Raises: LookupError."""
    match = _PINNED.search(spec)
    if match is None:
        raise LookupError("the spec has no line 'Version:'")
    return match[2]


def raised(spec: str, version: str, date: str) -> str:
    """Return a spec with another version, at release 1, with its entry in %changelog. ``date``: as RPM writes it."""
    spec = _PINNED.sub(rf"\g<1>{version}", spec, count=1)
    spec = _RELEASE.sub(r"\g<1>1", spec, count=1)
    entry = f"%changelog\n* {date} {WHO} - {version}-1\n- mistral.rs {version}\n\n"
    return spec.replace("%changelog\n", entry, 1)


def _key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def main(argv: list[str]) -> int:
    spec = SPEC.read_text(encoding="utf-8")
    if argv:
        wanted = argv[0].removeprefix("v")
    else:
        source = os.environ.get("MISTRALRS_UPSTREAM", UPSTREAM)
        listed = subprocess.run(["git", "ls-remote", "--tags", "--refs", source], capture_output=True, text=True)
        found = newest(listed.stdout) if listed.returncode == 0 else None
        if found is None:
            print(f"mistralrs_tag: {source} has no tag of a release\n{listed.stderr}", file=sys.stderr, end="")
            return 1
        wanted = found
    if not re.fullmatch(r"\d+\.\d+\.\d+", wanted):
        print(f"mistralrs_tag: '{wanted}' is no version: 0.9.5 is one", file=sys.stderr)
        return 2
    if _key(wanted) > _key(pinned(spec)):
        SPEC.write_text(raised(spec, wanted, time.strftime("%a %b %d %Y", time.gmtime())), encoding="utf-8")
        print(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

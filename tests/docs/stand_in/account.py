"""Users: who may be named is who the packages make. Everything belongs to whoever runs the tests."""

import os
import re
from pathlib import Path

from tests.arch.source import ROOT


def users() -> set[str]:
    """Return the users that the packages make, and root."""
    lists = [*(ROOT / "packaging").glob("rpm/sysusers/*"), *(ROOT / "packaging").glob("*/*.sysusers")]
    assert lists
    return {"root"} | {name for path in lists for name in re.findall(r"^u (\S+)", path.read_text(), re.MULTILINE)}


def sudo(words: list[str]) -> None:
    """Run a program as whoever runs the tests; it must be asked for as somebody who is there on a real host."""
    words = list(words)
    while words[0].startswith("-"):
        option = words.pop(0)
        assert option == "-u", f"{option} is unknown"
        user = words.pop(0)
        assert user in users(), f"no package makes a user {user}"
    os.execvp(words[0], words)


def chown(words: list[str]) -> None:
    owner, *files = words
    unknown = [name for name in owner.split(":") if name and name not in users()]
    assert not unknown, f"no package makes {unknown}"
    missing = [file for file in files if not Path(file).exists()]
    assert files, "of nothing"
    assert not missing, f"{missing} is not there"
    print(f"{files} would belong to {owner}")

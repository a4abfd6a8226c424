"""bash, zsh and fish read the completions where they are installed, and complete both programs with them."""

import os
import shlex
import sys
from pathlib import Path

import pytest
from tests.packaging.rpm.test_install import SITE
from tests.packaging.rpm.tool import run

BASH = """
source {folder}/cortex
COMP_LINE="{line}" COMP_POINT=${{#COMP_LINE}}
function=$(complete -p {program} | sed -E 's/.* -F (\\S+) .*/\\1/')
$function {program} "{word}" {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
# What completes is the shell's own there and works in its line editor only: here it says what it is given.
ZSH = """
fpath=({folder} $fpath)
autoload -Uz compinit && compinit -u -D
[[ $_comps[{program}] == _cortex ]] || {{ print "nobody completes {program}"; exit 1 }}
_arguments() {{ print -r -- "$@" }}
compadd() {{ print -r -- "$@" }}
words=({program} "{word}") CURRENT=2 service={program}
_cortex
"""
FISH = """
set fish_complete_path {folder}
complete --do-complete "{line}"
"""
SHELLS = {
    "bash": (["bash", "--norc"], BASH, "bash-completion/completions"),
    "zsh": (["zsh", "-f"], ZSH, "zsh/site-functions"),
    "fish": (["fish", "--no-config"], FISH, "fish/vendor_completions.d"),
}


@pytest.fixture(scope="module")
def path(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A search path on which both programs are what was installed, with the Python of the tests."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("cortex", "cortex-neuron"):
        words = shlex.join([sys.executable, "-P", str(installed / "usr/bin" / name)])
        text = f'#!/bin/sh\nPYTHONPATH={installed / SITE} PYTHONDONTWRITEBYTECODE=1 exec {words} "$@"\n'
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("program", "word", "offered"), [("cortex", "sta", "status"), ("cortex-neuron", "doc", "doctor")]
)
def test_a_shell_completes_both_programs(
    installed: Path, path: str, shell: str, program: str, word: str, offered: str
) -> None:
    command, script, place = SHELLS[shell]
    text = script.format(folder=installed / "usr/share" / place, program=program, word=word, line=f"{program} {word}")
    said = run(*command, "-c", text, env={"PATH": path, "HOME": "/nowhere"}, cwd=installed)
    assert offered in said.replace('"', " ").replace("\\", " ").split() or f"\n{offered}\t" in f"\n{said}", said

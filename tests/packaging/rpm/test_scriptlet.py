"""What scriptlets do on a host, run with a systemctl that only keeps what it is told; and who owns folders."""

import re
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from tests.packaging.rpm.conftest import Built

SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> {told}
case "$*" in *is-active*) exit {code};; esac
"""
OF_OTHERS = {
    "/etc",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib/firewalld",
    "/usr/lib/firewalld/services",
    "/usr/lib/python3.14/site-packages",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/lib/sysusers.d",
    "/usr/libexec",
    "/usr/share",
    "/usr/share/bash-completion/completions",
    "/usr/share/doc",
    "/usr/share/fish/vendor_completions.d",
    "/usr/share/licenses",
    "/usr/share/man/man1",
    "/usr/share/man/man5",
    "/usr/share/man/man8",
    "/usr/share/polkit-1/rules.d",
    "/usr/share/zsh/site-functions",
}
"""Folders of Fedora's packages: filesystem, systemd, python3, polkit, firewalld-filesystem."""


@pytest.mark.parametrize("name", ["cortex", "cortex-common", "cortex-neuron"])
def test_every_folder_of_ours_belongs_to_a_package(built: Built, name: str) -> None:
    """One that nobody owns stays after a removal, with whatever mode the umask of that day gave it."""
    owned = {path for package in {name, "cortex-common"} for path in built.now[package].entries()}
    parents = {str(PurePosixPath(path).parent) for path in built.now[name].entries()}
    assert parents - owned - OF_OTHERS == set()


def told_by(
    built: Built, name: str, kind: str, count: int, folder: Path, *, is_active: bool, booted: bool
) -> list[str]:
    """Run a scriptlet as rpm would; return what systemctl was told."""
    text = built.now[name].ask("--qf", f"%{{{kind}}}")
    run, told = folder / "run", folder / "told"
    if booted:
        run.mkdir()
    told.touch()
    (folder / "bin").mkdir()
    for program in ("systemctl", "firewall-cmd"):
        path = folder / "bin" / program
        path.write_text(SYSTEMCTL.format(told=told, code=0 if is_active else 3))
        path.chmod(0o755)
    text = text.replace("/run/systemd/system", str(run)).replace("/usr/bin/firewall-cmd", str(folder / "none"))
    argv = ["sh", "-e", "-c", text, "scriptlet", str(count)]
    env = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return told.read_text().splitlines()


@pytest.mark.parametrize(
    ("is_active", "booted", "replaced"),
    [(True, True, True), (False, True, False), (True, False, False)],
    ids=["it runs", "it does not run", "no systemd, as in an image"],
)
def test_a_gateway_that_runs_is_replaced_after_the_transaction(
    built: Built, tmp_path: Path, is_active: bool, booted: bool, replaced: bool
) -> None:
    told = told_by(built, "cortex", "POSTTRANS", 2, tmp_path, is_active=is_active, booted=booted)
    killed = [line for line in told if line.startswith("kill ")]
    assert killed == (["kill --kill-whom=main --signal=SIGUSR2 cortex.service"] if replaced else [])


@pytest.mark.parametrize("name", ["cortex", "cortex-neuron"])
def test_units_are_preset_by_the_first_installation_and_ended_by_the_last_removal_only(
    built: Built, name: str, tmp_path: Path
) -> None:
    for kind, count, verb in (
        ("POSTIN", 1, "preset"),
        ("POSTIN", 2, None),
        ("PREUN", 1, None),
        ("PREUN", 0, "disable"),
    ):
        folder = tmp_path / f"{kind}-{count}"
        folder.mkdir()
        told = told_by(built, name, kind, count, folder, is_active=True, booted=True)
        verbs = {word for line in told for word in re.findall(r"\b(preset|disable|enable|start|restart|stop)\b", line)}
        assert verbs - {"stop"} == ({verb} if verb else set()), f"{kind} {count}: {told}"

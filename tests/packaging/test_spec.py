"""What the spec says that a build without Fedora's macros does not try: whose macros it uses, what its check needs."""

import re

from tests.arch.source import ROOT

SPEC = (ROOT / "packaging" / "rpm" / "cortex.spec").read_text()
BUILD = set(re.findall(r"^BuildRequires:\s+(\S+)", SPEC, re.MULTILINE))
OWNERS = {
    "pyproject_": "python3-devel",
    "python3": "python3-devel",
    "systemd_": "systemd-rpm-macros",
    "_unitdir": "systemd-rpm-macros",
    "_sysusersdir": "systemd-rpm-macros",
    "firewalld_": "firewalld-filesystem",
}
"""Macros by how they begin, and the packages that bring them. Without them a macro stays as it is, or is empty."""


def test_every_macro_has_the_package_that_brings_it() -> None:
    used = {name for name in re.findall(r"(?<!%)%\{?\??(\w+)", SPEC)}
    owners = {owner for start, owner in OWNERS.items() if any(name.startswith(start) for name in used)}
    assert owners == set(OWNERS.values()) == BUILD


def test_what_the_check_imports_is_asked_for_before_the_build() -> None:
    """Store and migrations are imported: their libraries are the extra's. What is left out wants what Fedora lacks."""
    assert "\n%pyproject_buildrequires -x store\n" in SPEC
    (check,) = re.findall(r"^%pyproject_check_import (.*)$", SPEC, re.MULTILINE)
    assert re.findall(r"-e '([^']+)'", check) == ["cortex.neuron.embedded*", "cortex.testing*", "cortex.kit.otlp"]


def test_nothing_is_done_to_what_is_another_packages() -> None:
    """No conflict, nothing made obsolete, no port opened, no unit started unasked."""
    assert re.findall(r"^(?:Conflicts|Obsoletes|Epoch)\b.*$", SPEC, re.MULTILINE) == []
    scripts = SPEC.partition("\n%post\n")[2].partition("\n%files common")[0]
    assert "firewall-cmd" not in scripts
    assert re.findall(r"systemctl .*\b(?:start|enable)\b", scripts) == []

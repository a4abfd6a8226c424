"""What is said to be in Fedora has been seen there, in the version that is said; what is not, is built beside it."""

import re

import pytest
from tests.arch.source import ROOT
from tests.packaging.rpm.tool import sourced

FEDORA = sourced("fedora43.provides")
COPR = sourced("copr.provides")
README = (ROOT / "packaging" / "rpm" / "README.md").read_text()
SEEN = re.compile(
    r"(?P<package>[a-z0-9_+\-]+?)-(?P<version>[0-9.]+)-\d+\.fc43: "
    r"(?P<page>[a-z0-9_+\-]+(/[a-z0-9_+\-]+)+)/fedora-43\.html"
)
EVERYWHERE = {"/bin/sh", "/usr/bin/python3", "python(abi)", "systemd"}
"""What there is no Fedora without."""


def name_of(provided: str) -> str:
    return provided.partition(" = ")[0]


@pytest.mark.parametrize(("provided", "source"), FEDORA, ids=[provided for provided, _ in FEDORA])
def test_what_fedora_is_said_to_have_was_seen_in_it(provided: str, source: str) -> None:
    name, _, version = provided.partition(" = ")
    if name in EVERYWHERE:
        assert source
        return
    seen = SEEN.fullmatch(source)
    assert seen is not None, source
    if "dist(" not in name:
        assert seen["package"] == name
        return
    project, extra = re.fullmatch(r"python3\.14dist\(([\w\-]+)(?:\[(\w+)\])?\)", name).groups()  # type: ignore[union-attr]
    package = f"python3-{project}" + (f"+{extra}" if extra else "")
    assert seen["package"].replace("_", "-") == package, "as Fedora names what provides it"
    assert seen["page"].endswith(f"/{seen['package']}")
    assert re.sub(r"(\.0)+$", "", seen["version"]) == version, "rpm leaves out the zeros that end a version"


@pytest.mark.parametrize("name", ["fedora43", "copr"])
def test_a_list_says_when_it_was_looked_up(name: str) -> None:
    head = (ROOT / f"packaging/rpm/ci/{name}.provides").read_text().partition("\npython3")[0]
    assert re.search(r"\bon 20\d\d-\d\d-\d\d\.$", head, re.MULTILINE)


def test_nothing_is_in_both_lists_or_twice_in_one() -> None:
    names = [name_of(provided) for provided, _ in (*FEDORA, *COPR)]
    assert [name for name in names if names.count(name) > 1] == []


def test_what_is_built_beside_it_says_why_and_stands_on_the_page() -> None:
    for provided, source in COPR:
        assert source, provided
        (project,) = re.findall(r"dist\((.*)\)", provided)
        assert f"| `{project}` |" in README


def test_what_must_be_of_one_version_is() -> None:
    """An SDK is of the version of Fedora's API, which is not to be replaced by one of ours."""
    versions = {provided.partition(" = ")[2] for provided, _ in COPR if "opentelemetry" in provided}
    (version,) = versions
    assert f"`python3-opentelemetry-api` is {version}" in README

"""The packages, built once for all tests: twice as they are, and once as a later version with another configuration."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from tests.packaging.rpm.tool import HERE, Dnf, Package, listed, need_tools, repository, stub

LATER = "9.9.9"
CONFIG = "packaging/rpm/config/cortex.toml"
EPOCH_S = "1790000000"


@dataclass(frozen=True)
class Built:
    """What was built of ``packed``, the source, twice, by the names of the packages; ``later``: of a later version.

    The second time from the source packed once more, as another run would.
    """

    version: str
    packed: bytes
    now: dict[str, Package]
    again: dict[str, Package]
    later: dict[str, Package]
    source: Package
    source_again: Package


SETUP_S = 600
"""The first test waits for four builds, which a busy machine is slow at."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(SETUP_S))


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    need_tools()


@pytest.fixture(scope="session")
def builder(tools: None) -> ModuleType:
    spec = importlib.util.spec_from_file_location("rpm_build", HERE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def built(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder, version = tmp_path_factory.mktemp("built"), builder.own_version()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH_S)
        source = builder.packed(version)
        changed = (HERE / "config" / "cortex.toml").read_bytes() + b"\n# a later version says more\n"
        (srpm,) = builder.build("srpm", version, source, folder / "source")
        (srpm_again,) = builder.build("srpm", version, builder.packed(version), folder / "source-again")
        yield Built(
            version,
            source,
            by_name(builder.build("rpm", version, source, folder / "now")),
            by_name(builder.build("rpm", version, builder.packed(version), folder / "again")),
            by_name(builder.build("rpm", LATER, builder.packed(LATER, {CONFIG: changed}), folder / "later")),
            Package(srpm),
            Package(srpm_again),
        )


def by_name(files: list[Path]) -> dict[str, Package]:
    return {file.name.rsplit("-", 2)[0]: Package(file) for file in files}


@pytest.fixture(scope="session")
def stubs(tools: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What stands for Fedora, and for what is built beside cortex."""
    folder = tmp_path_factory.mktemp("stubs")
    return {name: stub(folder, name, listed(f"{name}.provides")) for name in ("fedora43", "copr")}


@pytest.fixture(scope="session")
def installed(built: Built, stubs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which cortex and cortex-neuron are installed; tests only read it."""
    dnf = fresh(tmp_path_factory.mktemp("installed"), stubs)
    repository(dnf.work / "repo-cortex", *(package.file for package in built.now.values()))
    dnf("install", "cortex", "cortex-neuron")
    return dnf.root


def fresh(work: Path, stubs: dict[str, Path]) -> Dnf:
    """Return dnf for a new root, with the stubs as its only packages."""
    repository(work / "repo-stub", *stubs.values())
    return Dnf(work, work / "root")

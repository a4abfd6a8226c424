"""mistral.rs is gathered once, reproducibly, and both packages are built from that without a network and installed."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.packaging.upstream import MISTRALRS, PACKAGING, Upstream, make_upstream, need, run

TARBALL = "mistralrs-0.9.5-vendored.tar.xz"
FLAVOURS = ("12", "13")
CAP = {"12": "89", "13": "120"}

pytestmark = pytest.mark.timeout(600)
"""A build of the stand-in takes seconds, on a busy machine a minute."""


class Gathered(NamedTuple):
    upstream: Upstream
    out: Path
    pin: Path

    @property
    def tarball(self) -> Path:
        return self.out / TARBALL

    def again(self, out: Path, *words: str, umask: str = "022") -> subprocess.CompletedProcess[str]:
        command = f'umask {umask}; exec "$0" "$@"'
        argv = ["sh", "-c", command, str(MISTRALRS / "make-sources"), *words, "0.9.5", str(out)]
        env = self.upstream.env(self.pin)
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    need("cargo", "git", "xz")
    folder = tmp_path_factory.mktemp("mistralrs")
    it = Gathered(make_upstream(folder / "upstream"), folder / "sources", folder / "pin")
    done = it.again(it.out, "--record")
    assert done.returncode == 0, done.stderr
    return it


def test_the_same_tag_gives_the_same_bytes(gathered: Gathered, tmp_path: Path) -> None:
    done = gathered.again(tmp_path, umask="077")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / TARBALL).read_bytes() == gathered.tarball.read_bytes()
    head = run("git", "-C", gathered.upstream.mistralrs, "rev-parse", "HEAD")
    assert gathered.pin.read_text() == f"0.9.5 {head}\n"
    assert done.stdout == f"{hashlib.sha256(gathered.tarball.read_bytes()).hexdigest()}  {TARBALL}\n"


def test_a_tag_that_was_moved_is_refused(gathered: Gathered, tmp_path: Path) -> None:
    other = Gathered(gathered.upstream, tmp_path, tmp_path / "pin")
    other.pin.write_text(f"0.9.5 {'0' * 40}\n")
    done = other.again(tmp_path)
    assert done.returncode == 1
    assert "it was moved" in done.stderr
    assert not list(tmp_path.glob("*.xz"))


@pytest.mark.parametrize("pinned", [None, "10.9.5", "0.9.4"], ids=["no pin", "another's", "an older one"])
def test_a_tag_that_nobody_has_looked_at_is_refused_and_told_what_to_do(
    gathered: Gathered, tmp_path: Path, pinned: str | None
) -> None:
    other = Gathered(gathered.upstream, tmp_path / "out", tmp_path / "pin")
    if pinned:
        other.pin.write_text(f"{pinned} {'1' * 40}\n")
    done = other.again(other.out)
    assert done.returncode == 1
    assert "nobody has looked at" in done.stderr
    assert "make-sources --record 0.9.5 OUT" in done.stderr
    assert not list(other.out.glob("*.xz"))


def test_a_cargo_that_cannot_read_todays_crates_is_refused(gathered: Gathered, tmp_path: Path) -> None:
    (tmp_path / "cargo").write_text("#!/bin/sh\necho cargo 1.65.0\n")
    (tmp_path / "cargo").chmod(0o755)
    env = gathered.upstream.env(gathered.pin)
    argv = [MISTRALRS / "make-sources", "0.9.5", tmp_path / "out"]
    done = subprocess.run(
        argv, env=env | {"PATH": f"{tmp_path}:{env['PATH']}"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "cargo 1.65.0 cannot read today's crates: 1.85 or newer is needed" in done.stderr


def test_a_tag_that_is_not_there_is_named(gathered: Gathered, tmp_path: Path) -> None:
    env = gathered.upstream.env(tmp_path / "pin")
    for version, words in (("9.9.9", "no tag v9.9.9"), ("v0.9.5", "is no version")):
        argv = [MISTRALRS / "make-sources", version, tmp_path]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert words in done.stderr


def test_everything_that_a_builder_needs_is_in_it(gathered: Gathered) -> None:
    top = "mistralrs-0.9.5/"
    with tarfile.open(gathered.tarball) as archive:
        names = {name.removeprefix(top) for name in archive.getnames()}
        texts = {
            name: archive.extractfile(top + name).read().decode()  # type: ignore[union-attr]
            for name in (".cargo/config.toml", "LICENSES.crates", "cargo-vendor.txt")
        }
    for commit in gathered.upstream.commits:
        cutlass = f"cudaforge/git/checkouts/cutlass-{commit[:16]}"
        assert {f"{cutlass}/include/cutlass/cutlass.h", f"{cutlass}/LICENSE.txt", f"{cutlass}/COMMIT"} <= names
    assert "vendor/candle-core-0.11.0/src/lib.rs" in names
    assert not any("examples" in name or "/.git/" in name for name in names)
    assert "UPSTREAMS_OWN" in texts[".cargo/config.toml"]
    assert 'directory = "vendor"' in texts[".cargo/config.toml"]
    assert texts["LICENSES.crates"] == "candle-core 0.11.0 MIT OR Apache-2.0\n"
    assert texts["cargo-vendor.txt"] == "candle-core v0.11.0\n"


@pytest.fixture(scope="module")
def packages(gathered: Gathered, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both flavours, from their source packages, with a toolkit of which only the headers are there."""
    need("rpmbuild", "cargo")
    top = tmp_path_factory.mktemp("build")
    header = top / "toolkit/targets/x86_64-linux/include/crt/math_functions.h"
    header.parent.mkdir(parents=True)
    header.write_text("extern double rsqrt(double x);\n")
    return {flavour: build(flavour, gathered, top) for flavour in FLAVOURS}


def build(flavour: str, gathered: Gathered, top: Path) -> Path:
    source = run(MISTRALRS / "make-srpm", flavour, gathered.out, top / "srpm").splitlines()[-1]
    defines = {"_topdir": str(top / flavour), "dist": ".fc43", "toolkit": str(top / "toolkit")}
    options = [word for name, value in defines.items() for word in ("--define", f"{name} {value}")]
    shim = [] if Path("/etc/fedora-release").exists() else ["--load", str(PACKAGING / "rpm/ci/macros.fedora-shim")]
    # Where a build reaches for the network, it finds none.
    env = os.environ | {"CARGO_NET_OFFLINE": "true", "http_proxy": "http://127.0.0.1:9", "GIT_ALLOW_PROTOCOL": "none"}
    run("rpmbuild", *shim, *options, "--nodeps", "--rebuild", source, env=env)
    (built,) = (top / flavour / "RPMS").glob("*/*.rpm")
    return built


def asked(package: Path, form: str) -> list[str]:
    return run("rpm", "-qp", "--qf", f"[{form}\\n]", package).splitlines()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_package_is_built_for_its_gpus_without_a_network(
    flavour: str, packages: dict[str, Path], tmp_path: Path
) -> None:
    root = unpacked(packages[flavour], tmp_path)
    program = root / f"usr/libexec/mistralrs/cuda{flavour}/mistralrs"
    assert run(program, "--version") == f"mistralrs 0.9.5 sm_{CAP[flavour]}"
    assert (root / "usr/local/bin/mistralrs").exists() is False, "alternatives makes the link"


def unpacked(package: Path, root: Path) -> Path:
    with (root / "payload.cpio").open("wb") as payload:
        subprocess.run(["rpm2cpio", package], stdout=payload, check=True)
    with (root / "payload.cpio").open("rb") as payload:
        subprocess.run(["cpio", "-idm", "--quiet"], stdin=payload, cwd=root, check=True)
    return root


@pytest.mark.parametrize(("flavour", "toolkit"), [("12", "12-9"), ("13", "13-2")])
def test_a_package_wants_its_toolkits_libraries_and_nobodys_driver(
    flavour: str, toolkit: str, packages: dict[str, Path]
) -> None:
    wanted = asked(packages[flavour], "%{REQUIRENAME}")
    assert {name for name in wanted if name.endswith(toolkit)} == {
        f"{name}-{toolkit}" for name in ("cuda-cudart", "cuda-nvrtc", "libcublas", "libcurand")
    }
    assert not any(re.match(r"lib(cuda|nvidia)\b", name) for name in wanted)
    assert "mistralrs-server" in asked(packages[flavour], "%{PROVIDENAME}")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_belongs_to_whom(flavour: str, packages: dict[str, Path]) -> None:
    told = asked(
        packages[flavour], "%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEFLAGS:fflags} %{FILENAMES}"
    )
    assert "drwxr-x--- root:mistralrs  /etc/mistralrs" in told
    assert f"-rwxr-xr-x root:root  /usr/libexec/mistralrs/cuda{flavour}/mistralrs" in told
    assert "lrwxrwxrwx root:root g /usr/local/bin/mistralrs" in told
    licences = {line.rpartition("/")[2] for line in told if " l /" in line}
    assert licences == {"LICENSE", "LICENSES.crates", "cargo-vendor.txt"}


def test_both_flavours_are_installed_side_by_side(packages: dict[str, Path], tmp_path: Path) -> None:
    rpm = ["rpm", "--root", str(tmp_path), "--dbpath", "/var/lib/rpm"]
    run(*rpm, "-i", "--nodeps", "--noscripts", *packages.values())
    for flavour in FLAVOURS:
        assert (tmp_path / f"usr/libexec/mistralrs/cuda{flavour}/mistralrs").is_file()
    run(*rpm, "-e", "--nodeps", "--noscripts", "mistralrs-cuda13-server")
    assert (tmp_path / "usr/lib/systemd/system/mistralrs.service").is_file(), "the other one has it still"
    assert (tmp_path / "usr/libexec/mistralrs/cuda12/mistralrs").is_file()


OLDER = """\
Name: mistralrs-cuda{flavour}-server
Version: 0.9.4
Release: 1.fc43
Summary: The one before
License: MIT
BuildArch: noarch
%description
It has nothing.
%files
"""


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_one_flavour_is_not_upgraded_without_the_other_that_shares_its_files(
    flavour: str, packages: dict[str, Path], tmp_path: Path
) -> None:
    other = {"12": "13", "13": "12"}[flavour]
    (tmp_path / "older.spec").write_text(OLDER.format(flavour=other))
    run("rpmbuild", "--quiet", "--define", f"_topdir {tmp_path}", "-bb", tmp_path / "older.spec")
    (older,) = tmp_path.glob("RPMS/*/*.rpm")

    def needs(*files: Path) -> str:
        rpm = ["rpm", "--root", str(tmp_path / "root"), "--dbpath", "/var/lib/rpm", "-i", "--test", *map(str, files)]
        return subprocess.run(rpm, capture_output=True, text=True, check=False).stderr

    conflict = f"mistralrs-cuda{other}-server < 0.9.5-1.fc43 conflicts with"
    assert conflict in needs(older, packages[flavour])
    assert "conflicts with" not in needs(*packages.values())


class Host:
    """A scratch root in which scriptlets run as they are, but for the paths in them."""

    def __init__(self, root: Path, packages: dict[str, Path]) -> None:
        self.root = root
        self._packages = packages
        self.link = root / "usr/local/bin/mistralrs"
        self.link.parent.mkdir(parents=True)
        folder = root / "bin"
        folder.mkdir()
        tool = f"exec update-alternatives --altdir {root}/alt --admindir {root}/admin --log {root}/log"
        for name, text in (("alternatives", f'{tool} "$@"'), ("systemctl", "exit 0")):
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        for name in ("alt", "admin"):
            (root / name).mkdir()

    def install(self, flavour: str) -> str:
        program = self.program(flavour)
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        return self._scriptlet(flavour, "POSTIN", 1)

    def upgrade(self, flavour: str) -> None:
        self._scriptlet(flavour, "POSTIN", 2)
        self._scriptlet(flavour, "POSTUN", 1)

    def remove(self, flavour: str) -> None:
        self._scriptlet(flavour, "PREUN", 0)
        shutil.rmtree(self.program(flavour).parent)
        self._scriptlet(flavour, "POSTUN", 0)

    def program(self, flavour: str) -> Path:
        return self.root / f"usr/libexec/mistralrs/cuda{flavour}/mistralrs"

    def _scriptlet(self, flavour: str, kind: str, count: int) -> str:
        text = run("rpm", "-qp", "--qf", f"%{{{kind}}}", self._packages[flavour])
        text = re.sub(r"/usr/(local/bin|libexec)/", rf"{self.root}/usr/\1/", text)
        env = {"PATH": f"{self.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        argv = ["sh", "-e", "-c", text, "scriptlet", str(count)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr


@pytest.fixture
def host(packages: dict[str, Path], tmp_path: Path) -> Host:
    need("update-alternatives")
    return Host(tmp_path, packages)


def test_the_link_leads_to_what_is_installed_and_rather_to_the_newer_cuda(host: Host) -> None:
    host.install("12")
    assert host.link.resolve() == host.program("12")
    host.install("13")
    assert host.link.resolve() == host.program("13")
    host.upgrade("12")
    assert host.link.resolve() == host.program("13"), "an upgrade changes nothing"
    host.remove("13")
    assert host.link.resolve() == host.program("12")
    host.remove("12")
    assert not host.link.is_symlink()


def test_a_program_of_the_hosts_own_is_left_alone(host: Host) -> None:
    host.link.write_text("built by hand")
    assert "stays" in host.install("12")
    host.remove("12")
    assert host.link.read_text() == "built by hand"


def test_systemd_finds_nothing_wrong_with_the_unit(packages: dict[str, Path], tmp_path: Path) -> None:
    need("systemd-analyze", "rpm2cpio", "cpio")
    root = unpacked(packages["13"], tmp_path)
    shutil.copy(PACKAGING / "systemd/mistralrs@.service", root / "usr/lib/systemd/system")
    for path in Path("/lib/systemd/system").glob("*.target"):
        shutil.copy(path, root / "usr/lib/systemd/system")
    link = root / "usr/local/bin/mistralrs"
    link.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / "usr/libexec/mistralrs/cuda13/mistralrs", link)
    options = [f"--root={root}", "--man=no", "--recursive-errors=no"]
    argv = ["systemd-analyze", "verify", *options, "mistralrs.service"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

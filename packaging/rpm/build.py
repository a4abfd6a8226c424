"""Makes cortex's source and binary RPMs: ``build.py srpm|rpm [--version V] [--out FOLDER]``; ``make`` calls it.

The source is the working tree as git sees it, packed so that the same files always make the same bytes. The version is
that of ``src/cortex/__init__.py``; another one (for a trial of an upgrade) is written into the source as well. On
Fedora the binary packages are built with Fedora's own macros, elsewhere with ``ci/macros.fedora-shim``.
"""

import argparse
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "packaging" / "rpm"
VERSION_FILE = "src/cortex/__init__.py"
PACKED = ("src/", "docs/", "packaging/", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml")
"""What is in the source; tests are not, since they want a whole environment."""
LEFT_OUT = ("docs/screenshot/", "packaging/mistralrs/")
NEVER = ("__pycache__", ".pyc", ".egg-info")
SAME_BYTES = {
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "_buildhost": "localhost",
}
"""Macros by which a package says nothing of when and where it was built."""


def main() -> int:
    args = _parser().parse_args()
    version = args.version or own_version()
    for built in build(args.what, version, packed(version), args.out.resolve()):
        print(built)
    return 0


def own_version() -> str:
    """Return the version that the code has."""
    (found,) = re.findall(r'^__version__ = "(.*)"$', (ROOT / VERSION_FILE).read_text(), re.MULTILINE)
    return str(found)


def packed(version: str, changed: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
    """Return the source as a tar.gz whose bytes depend on nothing but the files, the version and the commit's time.

    ``changed``: other contents for some files, for a trial of an upgrade.
    """
    plain, when = io.BytesIO(), source_epoch_s()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in sources():
            path = ROOT / name
            data = changed.get(name) or path.read_bytes()
            if name == VERSION_FILE:
                data = re.sub(rb'(?m)^__version__ = ".*"$', f'__version__ = "{version}"'.encode(), data)
            member = tarfile.TarInfo(f"cortex-{version}/{name}")
            member.size, member.mtime = len(data), when
            member.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=0)


def sources() -> list[str]:
    """Return the files that are packed, sorted: those that git knows or would take, without git all there are."""
    if (ROOT / ".git").exists():
        listed = _git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    else:
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    wanted = {name for name in listed if name.startswith(PACKED) and not name.startswith(LEFT_OUT)}
    return sorted(name for name in wanted if (ROOT / name).is_file() and not any(part in name for part in NEVER))


def source_epoch_s() -> int:
    """Return the time that every file gets: $SOURCE_DATE_EPOCH, else that of the last commit, else of the changelog."""
    said = os.environ.get("SOURCE_DATE_EPOCH")
    if said:
        return int(said)
    if (ROOT / ".git").exists():
        return int(_git("log", "-1", "--format=%ct"))
    return int((ROOT / "CHANGELOG.md").stat().st_mtime)


def build(what: str, version: str, source: bytes, out: Path) -> list[Path]:
    """Make the packages ("srpm" or "rpm") of a packed source and put them into ``out``; return them.

    What rpmbuild says is shown only when it fails.
    """
    with tempfile.TemporaryDirectory(prefix="cortex-rpm-") as folder:
        top = Path(folder)
        spec = _prepared(top, version, source)
        env = os.environ | {"SOURCE_DATE_EPOCH": str(source_epoch_s()), "LC_ALL": "C.UTF-8"}
        # A source package has in it what the spec's macros are here: it is built from below, without the folder's name.
        defined = {"_topdir": "." if what == "srpm" else str(top)} | SAME_BYTES
        options = [word for name, value in defined.items() for word in ("--define", f"{name} {value}")]
        command = ["rpmbuild", *options, *_options(what), str(spec)]
        done = subprocess.run(command, cwd=top, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}\nrpmbuild: exit code {done.returncode}")
        out.mkdir(parents=True, exist_ok=True)
        made = sorted(top.glob("SRPMS/*.rpm" if what == "srpm" else "RPMS/*/*.rpm"))
        return [Path(shutil.copy2(package, out)) for package in made]


def _prepared(top: Path, version: str, source: bytes) -> Path:
    """Put the source and the finished spec below ``top``, as rpmbuild wants them; return the spec."""
    (top / "SOURCES").mkdir()
    (top / "SOURCES" / f"cortex-{version}.tar.gz").write_bytes(source)
    date = time.strftime("%a %b %d %Y", time.gmtime(source_epoch_s()))
    text = (HERE / "cortex.spec").read_text(encoding="utf-8")
    spec = top / "cortex.spec"
    spec.write_text(text.replace("@VERSION@", version).replace("@DATE@", date), encoding="utf-8")
    for path in (spec, *(top / "SOURCES").iterdir()):
        os.utime(path, (source_epoch_s(), source_epoch_s()))
        path.chmod(0o644)
    return spec


def _options(what: str) -> list[str]:
    if what == "srpm":
        return ["--define", "dist %{nil}", "-bs"]
    if Path("/etc/fedora-release").exists():
        return ["-bb"]
    # There is no database of packages here to ask for the BuildRequires.
    return ["--load", str(HERE / "ci/macros.fedora-shim"), "--define", f"ci_python {sys.executable}", "--nodeps", "-bb"]


def _git(*words: str) -> str:
    # The tree may be another user's, as it is in a container: it is only read.
    command = ["git", "-c", f"safe.directory={ROOT}", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make cortex's packages.")
    parser.add_argument("what", choices=["srpm", "rpm"])
    parser.add_argument("--version", help="another version than the code's, for a trial of an upgrade")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the packages go (default: dist)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

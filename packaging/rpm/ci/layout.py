"""Lays a wheel out below a buildroot as Fedora's %pyproject_install and %pyproject_save_files would; used by CI only.

``layout.py WHEELS BUILDROOT SITELIB LIST``: unpacks the one wheel, writes its launchers, drops what Fedora drops, and
writes the paths that the package owns into LIST. Byte code is not made.
"""

import configparser
import sys
import zipfile
from pathlib import Path

LAUNCHER = """\
#!/usr/bin/python3 -sP
import sys
from {module} import {name}
sys.exit({name}())
"""


def main(wheels: str, buildroot: str, sitelib: str, listing: str) -> None:
    (wheel,) = Path(wheels).glob("*.whl")
    site = Path(buildroot + sitelib)
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith(("/", "RECORD")))
        archive.extractall(site, names)
    for path in (site / name for name in names):
        path.chmod(0o644)
    (info,) = site.glob("*.dist-info")
    (info / "INSTALLER").write_text("rpm\n")
    entry_points = configparser.ConfigParser()
    entry_points.read(info / "entry_points.txt")
    for script, target in entry_points["console_scripts"].items():
        module, name = target.split(":")
        path = Path(f"{buildroot}/usr/bin/{script}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LAUNCHER.format(module=module, name=name))
        path.chmod(0o755)
    owned = [path for root in sorted({name.split("/")[0] for name in names}) for path in (site / root).rglob("*")]
    folders = [site / root for root in sorted({name.split("/")[0] for name in names})]
    lines = [f"%dir {sitelib}/{path.relative_to(site)}" for path in (*folders, *owned) if path.is_dir()]
    lines += [f"{mark(path)}{sitelib}/{path.relative_to(site)}" for path in owned if path.is_file()]
    Path(listing).write_text("\n".join(sorted(set(lines))) + "\n")


def mark(path: Path) -> str:
    return "%license " if "licenses" in path.parts and path.parent.name == "licenses" else ""


if __name__ == "__main__":
    main(*sys.argv[1:])

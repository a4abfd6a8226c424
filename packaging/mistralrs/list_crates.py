"""Prints the vendored crates, `name version licence` a line, for the package's licence file: list_crates.py VENDOR."""

import sys
import tomllib
from pathlib import Path


def crates(vendor: Path) -> list[tuple[str, str, str]]:
    """Return name, version and SPDX expression of each crate below a folder that `cargo vendor` has made.

    Raises: SystemExit, where there is none.
    """
    found = []
    for manifest in sorted(vendor.glob("*/Cargo.toml")):
        package = tomllib.loads(manifest.read_text()).get("package", {})
        found.append((package.get("name", ""), package.get("version", ""), _licence(package, manifest)))
    if not found:
        raise SystemExit(f"list_crates: there are no crates in {vendor}")
    return sorted(found)


def _licence(package: dict[str, str], manifest: Path) -> str:
    if licence := package.get("license"):
        return licence.replace("/", " OR ")  # as it was written before SPDX expressions
    if file := package.get("license-file"):
        return f"see {manifest.parent.name}/{file}"
    print(f"list_crates: {manifest} names no licence: look at it before it is given away", file=sys.stderr)
    return f"unknown, see {manifest.parent.name}"


if __name__ == "__main__":
    for crate in crates(Path(sys.argv[1])):
        print(*crate)

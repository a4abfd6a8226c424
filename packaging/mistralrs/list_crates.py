"""Prints the vendored crates, `name version licence` a line, for the package: list_crates.py VENDOR [SPEC].

With a spec, crates whose licence its tag ``License:`` does not cover are told on standard error.
"""

import re
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


def covers(tag: str, expression: str) -> bool:
    """Return whether one alternative of each part of an SPDX expression is among the licences of a tag.

    Parts are what AND joins, outside of parentheses or in them; nested ones deeper than that are not understood, which
    makes them uncovered.
    """
    known = set(_alternatives(tag.replace(" AND ", " OR ")))
    parts = re.split(r" AND (?![^(]*\))", expression)
    return all(known & set(_alternatives(part)) for part in parts)


def _alternatives(expression: str) -> list[str]:
    return [word.strip(" ()") for word in re.split(r" OR ", expression)]


def main(vendor: str, spec: str = "") -> None:
    found = crates(Path(vendor))
    for crate in found:
        print(*crate)
    if not spec:
        return
    (tag,) = re.findall(r"^License:\s+(.*)$", Path(spec).read_text(), re.MULTILINE)
    for name, version, licence in found:
        if not covers(tag, licence):
            print(f"list_crates: {name} {version} is under {licence}: the spec's License: lacks it", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])

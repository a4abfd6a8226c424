"""Who may import whom. import-linter's contracts stand in pyproject.toml; here stands what it cannot say."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.arch.source import ROOT, SRC, modules, relative, tree

PURE = ("contract", "residency", "fleet", "dialects")
PURE_MAY_USE = {"cortex", "msgspec"}
IMPURE = {"asyncio", "threading", "time", "random", "os", "io", "pathlib", "socket", "subprocess", "logging", "sqlite3"}
"""DESIGN §3, rule 1."""


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, wherever in it and for whatever purpose."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def linter() -> dict[str, Any]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return dict(config["tool"]["importlinter"])


def test_import_contracts_are_kept() -> None:
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", PURE)
def test_a_pure_package_uses_nothing_but_pure_modules_and_msgspec(package: str) -> None:
    allowed = PURE_MAY_USE | (set(sys.stdlib_module_names) - IMPURE)
    impure = [
        f"{relative(path)} imports {name}"
        for path in modules(f"cortex.{package}")
        for name in imported(path)
        if name.partition(".")[0] not in allowed
    ]
    assert impure == []


def test_every_pure_package_is_under_the_contract() -> None:
    (contract,) = (found for found in linter()["contracts"] if found["type"] == "forbidden")
    assert set(contract["source_modules"]) == {f"cortex.{package}" for package in PURE}
    assert set(contract["forbidden_modules"]) >= IMPURE


def test_every_package_of_ours_has_its_layer() -> None:
    (contract,) = (found for found in linter()["contracts"] if found["type"] == "layers")
    placed = {name.strip(" ()") for layer in contract["layers"] for name in layer.split("|")}
    there = {path.stem for path in (SRC / "cortex").glob("[!_]*") if path.is_dir() and (path / "__init__.py").exists()}
    assert placed == there | {"__main__"}
    assert contract["exhaustive"] is True


def test_only_serving_commands_import_a_daemon() -> None:
    serving = {"key_host.py", "serve.py", "neuron.py"}
    for path in modules("cortex.cli"):
        if path.name in serving or path.parent.name == "up" or path.parent.parent.name == "doctor":
            continue
        assert daemons_in(path) == set(), relative(path)


def daemons_in(path: Path) -> set[str]:
    """Return which daemons a module imports something of."""
    return {".".join(name.split(".")[:2]) for name in imported(path)} & {"cortex.gateway", "cortex.neuron"}


@pytest.mark.parametrize(("folder", "daemon"), [("gateway", "cortex.gateway"), ("node", "cortex.neuron")])
def test_a_doctor_knows_its_own_daemon_only(folder: str, daemon: str) -> None:
    assert {name for path in modules(f"cortex.cli.doctor.{folder}") for name in daemons_in(path)} == {daemon}


def test_a_gateway_without_a_store_loads_no_library_for_one() -> None:
    program = "import sys, cortex.cli.serve, cortex.gateway.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "cortex.gateway.app" in done.stdout.split()
    assert {"sqlalchemy", "alembic", "asyncpg", "sqlite3"} & set(done.stdout.split()) == set()


def test_tests_are_imported_by_no_product_code() -> None:
    assert [relative(path) for path in modules() if any(n.split(".")[0] == "tests" for n in imported(path))] == []

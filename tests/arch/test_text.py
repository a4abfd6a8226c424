"""What may stand nowhere in the repository, looked for as text."""

import ast
import re
from pathlib import Path

import pytest
from tests.arch.source import files, modules, relative, tree

ENGINE_LIFECYCLE = re.compile(r"/v1/models/(reload|unload|status)")
"""Paths by which mistral.rs loads and unloads: the neuron's business."""

MACHINE_PATHS = re.compile(r"(?<![\w.])/(work|farm|root)/|[.]library\b")
"""Folders of whoever's machine this was written on; tests take a tmp_path."""

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError|pytest\.mark\.(skip|xfail)\b")

THIS = Path(__file__)
TEXT = ("", ".py", ".md", ".toml", ".yaml", ".yml", ".cfg", ".c", ".sh", ".service", ".spec", ".conf")


def lines_with(pattern: re.Pattern[str], paths: tuple[Path, ...]) -> list[str]:
    return [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in paths
        if path != THIS
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("package", ["cortex.gateway", "cortex.fleet"])
def test_the_gateway_knows_no_engines_lifecycle(package: str) -> None:
    assert lines_with(ENGINE_LIFECYCLE, modules(package)) == []


def test_no_path_of_a_developers_machine_is_in_the_repository() -> None:
    assert lines_with(MACHINE_PATHS, files(*TEXT)) == []


def test_nothing_is_left_for_later() -> None:
    assert lines_with(UNFINISHED, files(".py")) == []


def test_no_test_waits_by_the_clock() -> None:
    """``sleep(0)`` lets other tasks run; a longer one hopes that something has happened meanwhile."""
    sleeping = [
        f"{relative(path)}:{node.lineno}"
        for path in files(".py")
        if relative(path).startswith("tests/") and "sleep" in path.read_text()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and is_sleep(node)
    ]
    assert sleeping == []


def is_sleep(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    is_owned = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("time", "asyncio")
    is_zero = bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0
    return name == "sleep" and is_owned and not is_zero

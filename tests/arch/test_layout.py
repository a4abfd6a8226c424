"""Where things are: unit tests mirror the sources, files are small and named by what they are about."""

import ast
from pathlib import Path

from tests.arch.source import SRC, UNIT, files, modules, relative, tree

LINE_CAP = 500
LONGER: dict[str, str] = {}
"""Files over the cap, each with its reason."""

BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "service", "base", "core", "types"}

LOGIC_STATEMENTS = 5
"""A module with fewer statements in its functions only hands something on."""

TESTED_ELSEWHERE = {
    "fleet/arrival.py": "a room of the dispatcher; test_dispatcher drives it",
    "fleet/floor.py": "what the rooms of the dispatcher share; test_dispatcher drives it",
    "gateway/control/assembly.py": "wires; tests/integration/control starts what it wires",
    "neuron/app.py": "wires; tests/integration/neuron starts the process and signals it",
    "testing/conformance.py": "asks; the suites ask with it, and tests/conformance runs them",
    "testing/fleet_call.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_fate.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_gateway.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_host.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_life.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_load.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_memory_rule.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/fleet_neuron.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_plane_rule.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/fleet_referee.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/fleet_request_rule.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/fleet_retry_rule.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/fleet_scene.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_simulation.py": "the simulated fleet; tests/simulation drives it",
    "testing/fleet_store.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_supervisor.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_turnover.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/fleet_verdict.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/fleet_wait_rule.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/fleet_wire.py": "a part of the simulated fleet; tests/simulation drives it",
    "testing/foreign_conformance.py": "tests; tests/conformance runs them over the harness of foreign servers",
    "testing/harness_conformance.py": "tests; tests/conformance runs them over every harness",
    "testing/lease_referee.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/lease_simulation.py": "the simulator of leases; tests/simulation drives it",
    "testing/quota_referee.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/quota_simulation.py": "the simulator of keys' limits; tests/simulation drives it",
    "testing/leased_node.py": "a part of the simulator of leases; tests/simulation drives it",
    "testing/leasing_gateway.py": "a part of the simulator of leases; tests/simulation drives it",
    "testing/loopback_server.py": "the fakes' own tests start, stop and find it again",
    "testing/node_fate.py": "a part of the simulator of leases; tests/simulation drives it",
    "testing/referee.py": "judges; tests/simulation plants the bugs that it must find",
    "testing/replay_run.py": "plays; test_replay.py looks at what it says of a fleet",
    "testing/shared_conformance.py": "tests; tests/conformance runs them over every harness with a shared server",
    "testing/simulated_node.py": "a part of the simulator; tests/simulation drives it",
    "testing/simulation.py": "the simulator; tests/simulation drives it",
}
"""Modules with logic and no unit test file of their own, each with the reason."""


def statements(path: Path) -> int:
    """Count the statements in a module's functions, docstrings left out."""
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {part for function in functions for top in function.body for part in ast.walk(top)}
    return sum(isinstance(part, ast.stmt) and not is_words(part) for part in inside)


def is_words(part: ast.stmt) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)


def inside_package(path: Path) -> str:
    return str(path.relative_to(SRC / "cortex"))


def unit_test_of(path: Path) -> Path:
    return UNIT / Path(inside_package(path)).with_name(f"test_{path.stem.strip('_')}.py")


WITH_LOGIC = [path for path in modules() if statements(path) >= LOGIC_STATEMENTS]


def test_a_module_with_logic_has_its_unit_test_or_a_reason() -> None:
    untested = [path for path in WITH_LOGIC if not unit_test_of(path).is_file()]
    missing = [relative(unit_test_of(path)) for path in untested if inside_package(path) not in TESTED_ELSEWHERE]
    assert missing == []


def test_every_reason_belongs_to_a_module_with_logic_and_without_a_unit_test() -> None:
    untested = {inside_package(path) for path in WITH_LOGIC if not unit_test_of(path).is_file()}
    assert set(TESTED_ELSEWHERE) <= untested


def test_every_unit_test_belongs_to_a_module() -> None:
    """``test_<module>.py``, or ``test_<module>_<aspect>.py`` where one file would be too long."""
    expected = {unit_test_of(path) for path in modules()}
    strays = [
        relative(path)
        for path in files(".py")
        if path.is_relative_to(UNIT) and is_test(path) and not any(belongs(path, home) for home in expected)
    ]
    assert strays == []


def belongs(path: Path, home: Path) -> bool:
    return path.parent == home.parent and (path == home or path.stem.startswith(f"{home.stem}_"))


def is_test(path: Path) -> bool:
    return path.name.startswith("test_")


def test_a_file_is_short_enough_to_be_read() -> None:
    counts = {relative(path): len(path.read_text().splitlines()) for path in files(".py")}
    assert {name: count for name, count in counts.items() if count > LINE_CAP and name not in LONGER} == {}
    assert [name for name in LONGER if counts.get(name, 0) <= LINE_CAP] == [], "take them off LONGER"


def test_files_are_named_by_what_they_are_about() -> None:
    assert [relative(path) for path in files(".py") if path.stem.removeprefix("test_") in BANNED_NAMES] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [relative(path) for path in modules() if not ast.get_docstring(tree(path))] == []

"""The generated pages of the reference are as the code is now, and know every call."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from typing import Any

from tests.arch.source import ROOT, SRC, tree

HERE = ROOT / "docs" / "reference"
NEURON_API = SRC / "cortex" / "neuron" / "api.py"


def test_the_pages_are_as_the_code_is() -> None:
    build = HERE / "build.py"
    run = subprocess.run([sys.executable, str(build), "--print"], capture_output=True, text=True, check=True)
    made = json.loads(run.stdout)
    assert set(made) == {path.name for path in HERE.glob("*.md")}
    for name, text in made.items():
        assert (HERE / name).read_text() == text, f"run {build}"


def neuron_document() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("neuron_document", HERE / "neuron_document.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.document())


def test_every_call_of_the_neuron_is_there() -> None:
    served = []
    for node in ast.walk(tree(NEURON_API)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Route":
            methods = [ast.literal_eval(one.value) for one in node.keywords if one.arg == "methods"] or [["GET"]]
            path = str(ast.literal_eval(node.args[0])).replace("{model_id:path}", "{id}").replace("{harness}", "{name}")
            served += [(method, path) for method in methods[0]]
    paths = neuron_document()["paths"]
    assert sorted((method.upper(), path) for path, calls in paths.items() for method in calls) == sorted(served)


def test_what_a_call_of_the_neuron_takes_has_the_same_bounds_as_in_the_code() -> None:
    (lines,) = [
        one["schema"]
        for one in neuron_document()["paths"]["/models/{id}/logs"]["get"]["parameters"]
        if one["name"] == "lines"
    ]
    source = NEURON_API.read_text()
    assert f"LOG_LINES = {lines['default']}\n" in source
    assert f"MAX_LOG_LINES = {lines['maximum']}\n" in source


def test_every_command_has_its_heading() -> None:
    from cortex.cli.command import app

    said = re.findall(r"^### cortex ([a-z ]+)$", (HERE / "command.md").read_text(), re.MULTILINE)
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert names <= {words.split()[0] for words in said}

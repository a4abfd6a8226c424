"""The generated pages of the reference are as the code is now, and know every call."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from tests.arch.source import ROOT, SRC, tree

from cortex.gateway.data.reference.document import document

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


def test_every_answer_of_the_neuron_is_described() -> None:
    for calls in neuron_document()["paths"].values():
        for call in calls.values():
            assert {"200", "default"} <= set(call["responses"]) <= {"200", "202", "default"}
            assert all(answer["description"].endswith(".") for answer in call["responses"].values())


def test_what_a_call_of_the_neuron_takes_has_the_same_bounds_as_in_the_code() -> None:
    (lines,) = [
        one["schema"]
        for one in neuron_document()["paths"]["/models/{id}/logs"]["get"]["parameters"]
        if one["name"] == "lines"
    ]
    source = NEURON_API.read_text()
    assert f"LOG_LINES = {lines['default']}\n" in source
    assert f"MAX_LOG_LINES = {lines['maximum']}\n" in source


def test_every_path_of_the_api_has_its_heading_and_its_link() -> None:
    page = (HERE / "api.md").read_text()
    headings = re.findall(r"^### ((?:GET|POST|DELETE) \S+)$", page, re.MULTILINE)
    linked = re.findall(r"^\| \[((?:GET|POST|DELETE) \S+)\]\(#\S+\) \|", page, re.MULTILINE)
    served = [f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods]
    assert headings == linked
    assert sorted(headings) == sorted(served)


def section(page: str, heading: str) -> str:
    found = (HERE / page).read_text().partition(f"\n### {heading}\n")[2]
    assert found, heading
    return re.split(r"^#+ ", found, maxsplit=1, flags=re.MULTILINE)[0]


def test_every_member_of_a_request_stands_there_with_its_effect_or_in_a_list_of_those_with_one() -> None:
    schemas = document()["components"]["schemas"]
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            for content in operation.get("requestBody", {"content": {}})["content"].values():
                said = section("api.md", f"{method.upper()} {path}")
                members = schemas[content["schema"]["$ref"].rpartition("/")[2]]["properties"]
                rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (\w+) \|", said, re.MULTILINE))
                lists = "".join(re.findall(r"^(?:Passed on|Ignored|Without effect).*$", said, re.MULTILINE))
                assert {*rows, *re.findall(r"`(\w+)`", lists)} >= set(members), path
                assert [name for name in rows if rows[name] != members[name]["x-cortex-effect"]] == []


@pytest.mark.parametrize(
    ("page", "heading", "row"),
    [
        ("admin.md", "NodeEntry", "| `healthy` | boolean | required | its neuron answers |"),
        ("neuron.md", "UnloadRequest", "| `wait` | boolean | `true` |"),
        ("setting.md", "[gateway]", "| `gateway_id` | string | made at start | `CORTEX_GATEWAY__GATEWAY_ID` |"),
        ("setting.md", "[gateway]", "| `poll_s` | number, above 0 (seconds) | `10` | `CORTEX_GATEWAY__POLL_S` |"),
    ],
)
def test_what_people_write_of_a_name_stands_beside_its_type(page: str, heading: str, row: str) -> None:
    said = section(page, heading)
    assert row in said
    meanings = re.findall(r"^\| `\w+` \|.*\| [^|]*\w[^|]* \|$", said, re.MULTILINE)
    assert len(meanings) > 1


def test_every_command_has_its_heading() -> None:
    from cortex.cli.command import app

    said = re.findall(r"^### cortex ([a-z ]+)$", (HERE / "command.md").read_text(), re.MULTILINE)
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert names <= {words.split()[0] for words in said}

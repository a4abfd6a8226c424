"""Whether an object has only fields that Kubernetes' API knows, each of its kind, and all that it must have.

``tests/data/kubernetes/field.json`` has what our objects touch of the definitions of API 1.32, a line each. Cut anew by
``python -m tests.arch.kubernetes_field DEFINITIONS``, where DEFINITIONS is ``_definitions.json`` of that release.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.arch.source import ROOT

RECORD = ROOT / "tests" / "data" / "kubernetes" / "field.json"
PLACE = ROOT / "packaging" / "kubernetes"
PLAIN: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "boolean": bool, "number": (int, float), "int-or-string": (int, str),
}  # fmt: skip


def objects(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a folder's kustomization, in its order."""
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [one for name in names for one in yaml.safe_load_all((folder / name).read_text())]


def mistakes(value: Any, form: str, record: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield what is wrong with a value; ``form``: ``string``, ``[]FORM``, ``{}FORM`` or a definition's name."""
    if form in PLAIN or form in ("any", "object"):
        if form in PLAIN and (not isinstance(value, PLAIN[form]) or (isinstance(value, bool) and form != "boolean")):
            yield f"{where}: {value!r} is no {form}"
    elif form.startswith("[]"):
        if not isinstance(value, list):
            yield f"{where}: expected a list"
            return
        for number, one in enumerate(value):
            yield from mistakes(one, form[2:], record, f"{where}[{number}]")
    elif form.startswith("{}"):
        for name, one in value.items():
            yield from mistakes(one, form[2:], record, f"{where}.{name}")
    elif not isinstance(value, dict):
        yield f"{where}: expected an object"
    else:
        fields, required = record[form]["fields"], record[form].get("required", [])
        yield from (f"{where}: {name} is missing" for name in required if name not in value)
        for name, one in value.items():
            if name not in fields:
                yield f"{where}: {name} is no field of {form.rsplit('.', 1)[-1]}"
            else:
                yield from mistakes(one, fields[name], record, f"{where}.{name}")


def definition_of(one: dict[str, Any], record: dict[str, Any]) -> str:
    """Return the name of an object's definition."""
    key = f"{one['apiVersion']}/{one['kind']}"
    found: str = record["kinds"][key]
    return found


def form_of(schema: dict[str, Any]) -> str:
    """Return a property of the API's own definitions in the record's words."""
    if "$ref" in schema:
        name: str = schema["$ref"].rsplit("/", 1)[-1]
        plain = {"IntOrString": "int-or-string", "Quantity": "any", "Time": "string", "MicroTime": "string"}
        return plain.get(name.rsplit(".", 1)[-1], name)
    kind = schema.get("type", "any")
    kind = next(one for one in kind if one != "null") if isinstance(kind, list) else kind
    if kind == "array":
        return "[]" + form_of(schema["items"])
    if kind == "object":
        inner = schema.get("additionalProperties")
        return "{}" + form_of(inner) if inner else "object"
    return str(kind)


def cut(definitions: dict[str, Any]) -> dict[str, Any]:
    """Return what our objects touch of all definitions."""
    full: dict[str, Any] = {}
    for name, schema in definitions.items():
        fields = {key: form_of(inner) for key, inner in schema.get("properties", {}).items()}
        full[name] = {"fields": fields} | ({"required": schema["required"]} if "required" in schema else {})
    kinds = {
        f"{'/'.join(filter(None, (one['group'], one['version'])))}/{one['kind']}": name
        for name, schema in definitions.items()
        for one in schema.get("x-kubernetes-group-version-kind", [])
    }
    touched: set[str] = set()

    class Watched(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            touched.add(name)
            return super().__getitem__(name)

    ours = objects(PLACE)
    for one in ours:
        list(mistakes(one, definition_of(one, {"kinds": kinds}), Watched(full)))
    used = {f"{one['apiVersion']}/{one['kind']}" for one in ours}
    return {"kinds": {key: kinds[key] for key in sorted(used)}, **{name: full[name] for name in sorted(touched)}}


if __name__ == "__main__":
    told = json.loads(Path(sys.argv[1]).read_text())
    found = cut(told.get("$defs", told.get("definitions")))
    lines = (f"{json.dumps(name)}: {json.dumps(value, sort_keys=True)}" for name, value in found.items())
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")

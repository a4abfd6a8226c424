"""An OpenAPI document as a page: each call with its parameters, body and answers, then each type with its fields."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

MADE = "<!-- Written by docs/reference/build.py; change what it reads. -->"

MEDIA = {
    "application/json": "JSON",
    "application/x-ndjson": "lines of JSON",
    "audio/*": "audio",
    "text/event-stream": "server-sent events",
    "text/plain": "text",
}

BOUNDLESS = 1e9
"""A bound of seconds that only keeps arithmetic whole."""

UNITS = (
    ("epoch_s", "UTC epoch seconds"),
    ("_per_s", "a second"),
    ("_s", "seconds"),
    ("_secs", "seconds"),
    ("_ms", "milliseconds"),
    ("_mb", "MiB"),
    ("_kb", "KiB"),
    ("_bytes", "bytes"),
    ("_pct", "percent"),
    ("temp_c", "°C"),
    ("power_w", "watts"),
)
"""How names end, and what they count then; the first that fits."""

Meanings = Mapping[tuple[str, ...], Mapping[str, str]]
"""What the fields of a type mean, or the parameters of a call, by all of their names (``prose``)."""


def api_page(title: str, about: str, document: dict[str, Any], meanings: Meanings) -> str:
    """Return the page."""
    made = [*_calls(document, meanings), *types(document, meanings)]
    return "\n".join([f"# {title}", "", MADE, "", about, "", "## Calls", "", *made])


def _calls(document: dict[str, Any], meanings: Meanings) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            yield from (f"### {method.upper()} {path}", "", call["summary"], "")
            yield from parameters(call, meanings)
            said = [f"Answers: {', '.join(_answers(call['responses']))}."]
            if "requestBody" in call:
                said.insert(0, f"Body: {in_words(call['requestBody']['content']['application/json']['schema'])}.")
            yield from (" ".join(said), "")


def parameters(call: dict[str, Any], meanings: Meanings | None = None) -> Iterator[str]:
    """Yield the table of what a call takes in its path and query."""
    taken = call["parameters"]
    if not taken:
        return
    known = (meanings or {}).get(tuple(one["name"] for one in taken if one["in"] == "query"), {})
    words = [known.get(one["name"], one["schema"].get("description", "")) for one in taken]
    yield "| parameter | in | type | default |" + (" meaning |" if any(words) else "")
    yield "|---|---|---|---|" + ("---|" if any(words) else "")
    for one, about in zip(taken, words, strict=True):
        schema = one["schema"]
        default = "required" if one["required"] else default_in_words(schema)
        row = f"| `{one['name']}` | {one['in']} | {in_words(schema)}{unit_of(one['name'], schema)} | {default} |"
        yield row + (f" {about} |" if any(words) else "")
    yield ""


def _answers(responses: dict[str, Any]) -> Iterator[str]:
    for status, answer in sorted(responses.items()):
        kinds = [
            in_words(content["schema"]) if content["schema"] else MEDIA[media]
            for media, content in answer.get("content", {}).items()
        ]
        yield f"{'else' if status == 'default' else status} {' or '.join(kinds)}".strip()


def types(document: dict[str, Any], meanings: Meanings | None = None, shown: Collection[str] = ()) -> Iterator[str]:
    """Yield every type with its fields: what they are, what is there where they are not, and, where it is known, what
    they mean. ``shown``: types that stand on the page already."""
    yield from ("## Types", "")
    for name, schema in sorted(document["components"]["schemas"].items()):
        if name in shown:
            continue
        yield from (f"### {name}", "")
        if "description" in schema:
            yield from (plain(schema["description"]), "")
        if schema.get("properties"):
            yield from (*_fields(schema, (meanings or {}).get(tuple(schema["properties"]), {})), "")
        elif "enum" in schema or "examples" in schema:
            yield from (", ".join(f"`{value}`" for value in schema.get("enum", schema.get("examples"))), "")


def _fields(schema: dict[str, Any], meanings: Mapping[str, str]) -> Iterator[str]:
    shapes = schema["properties"]
    words = {field: meanings.get(field) or _about(shape) for field, shape in shapes.items()}
    has_words = any(words.values())
    yield "| field | type | default |" + (" meaning |" if has_words else "")
    yield "|---|---|---|" + ("---|" if has_words else "")
    for field, shape in shapes.items():
        default = "required" if field in schema.get("required", ()) else default_in_words(shape)
        row = f"| `{field}` | {in_words(shape)}{unit_of(field, shape)} | {default} |"
        yield row + (f" {plain(words[field])} |" if has_words else "")


def _about(shape: dict[str, Any]) -> str:
    effect, about = shape.get("x-cortex-effect"), str(shape.get("description", ""))
    return f"{effect}: {about}" if effect and about else effect or about


def plain(words: str) -> str:
    """Return words of a docstring on one line, with single back-ticks."""
    return " ".join(words.replace("``", "`").split())


def unit_of(name: str, shape: dict[str, Any]) -> str:
    """Return in which unit a number is, as its name says; empty where it says none."""
    if not re.search(r"integer|number", json.dumps(shape)):
        return ""
    return next((f" ({unit})" for end, unit in UNITS if name.endswith(end)), "")


def default_in_words(schema: dict[str, Any]) -> str:
    """Return a default as JSON has it; nothing where there is none."""
    return f"`{json.dumps(schema['default'], ensure_ascii=False)}`" if "default" in schema else ""


def in_words(schema: dict[str, Any], *, tables: bool = False) -> str:
    """Return a schema in words: what it is, of what, and within which bounds. ``tables``: types are tables of TOML."""
    if "$ref" in schema:
        if tables:
            return "table"
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        if tables:  # TOML has no null: what may be one is left out
            kinds = [one for one in schema["anyOf"] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(in_words(one, tables=True) for one in kinds))
        return " or ".join(in_words(one, tables=tables) for one in schema["anyOf"])
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    if "contentMediaType" in schema:
        return "file"
    if kind == "array":
        return f"list of {in_words(schema['items'], tables=tables)}" if schema.get("items") else "list"
    if kind == "object":
        inner = schema.get("additionalProperties")
        name = "table" if tables else "object"
        return f"{name} of {in_words(inner, tables=tables)}" if isinstance(inner, dict) and inner else name
    return f"{kind}{_bounds(schema)}"


def _bounds(schema: dict[str, Any]) -> str:
    least, most = (
        schema.get(key, schema.get(other)) for key, other in (("minimum", "minLength"), ("maximum", "maxLength"))
    )
    most = most if most is None or most < BOUNDLESS else None
    unit = " characters" if schema.get("type") == "string" else ""
    above = schema.get("exclusiveMinimum")
    said = [
        *([f"above {above}"] if above is not None else []),
        *([f"{least} to {most}{unit}"] if None not in (least, most) else []),
        *([f"{least} and more"] if least is not None and most is None else []),
        *([f"at most {most}{unit}"] if most is not None and least is None else []),
    ]
    return f", {', '.join(said)}" if said else ""

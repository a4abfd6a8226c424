"""The API that clients speak as a page: paths, headers, errors, then each path with what becomes of what it is sent.

Everything is taken from the OpenAPI document that gateways serve (``cortex.gateway.data.reference``).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from api_page import MADE, MEDIA, in_words, parameters, types

LONG = 400
"""An example of a stream or a body with more characters stands in the document only."""

PLAIN = ("passed", "ignored", "told")
"""Effects of which a list of names says all there is to say."""

LISTED = {"passed": "Passed on as they are", "ignored": "Ignored", "told": "Without effect, but told back"}


def client_page(about: str, document: dict[str, Any]) -> str:
    """Return the page."""
    parts = (
        ["# API reference", "", MADE, "", about, "", document["info"]["description"], ""],
        _overview(document),
        _effects(document),
        _headers(document),
        _errors(document),
        _calls(document),
        types(document, shown=_bodies(document)),
    )
    return "\n".join(line for part in parts for line in part)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation in the order of the tags."""
    every = [(path, method, one) for path, methods in document["paths"].items() for method, one in methods.items()]
    order = [tag["name"] for tag in document["tags"]]
    yield from sorted(every, key=lambda item: order.index(item[2]["tags"][0]))


def _overview(document: dict[str, Any]) -> Iterator[str]:
    yield from (
        "## Paths",
        "",
        "| path | what it does | dialect | streamed | asked of the engine |",
        "|---|---|---|---|---|",
    )
    for path, method, one in _operations(document):
        streams = _streamed(one)
        engine = f"`{one['x-cortex-engine-path']}`" if "x-cortex-engine-path" in one else "nothing"
        link = f"[{method.upper()} {path}](#{anchor(method, path)})"
        yield f"| {link} | {one['summary'].rstrip('.')} | {one['x-cortex-dialect']} | {streams} | {engine} |"
    yield ""


def anchor(method: str, path: str) -> str:
    """Return the anchor that the site gives to the heading of an operation."""
    kept = "".join(char for char in path.lower() if char.isalnum() or char in "_-.")
    return f"{method}-{kept.replace('.', '')}"


def _streamed(operation: dict[str, Any]) -> str:
    if not operation.get("x-cortex-streams"):
        is_passed = operation["x-cortex-dialect"] == "openai" and "x-cortex-engine-path" in operation
        return "as the engine does" if is_passed else "no"
    media = next(name for name in operation["responses"]["200"]["content"] if name != "application/json")
    return MEDIA[media]


def _effects(document: dict[str, Any]) -> Iterator[str]:
    yield from ("## What becomes of a member of a request", "", "| effect | meaning |", "|---|---|")
    for effect, words in document["x-cortex-effects"].items():
        yield f"| {effect} | {words} |"
    yield ""


def _headers(document: dict[str, Any]) -> Iterator[str]:
    yield from ("## Headers", "", "| of a request | meaning |", "|---|---|")
    for name, words in document["x-cortex-request-headers"].items():
        yield f"| `{name}` | {words} |"
    yield from ("", "| of an answer | value | meaning |", "|---|---|---|")
    for name, header in document["components"]["headers"].items():
        yield f"| `{name}` | {in_words(header['schema'])} | {header['description']} |"
    yield ""


def _errors(document: dict[str, Any]) -> Iterator[str]:
    yield from ("## Errors", "", "What each code means, and what helps: [errors](../errors.md#from-the-gateway).", "")
    yield from ("| code | status | Anthropic's | ask again | in words |", "|---|---|---|---|---|")
    for row in document["x-cortex-errors"]:
        status = row["status"]
        plain = next((status[name] for name in ("openai", "responses") if name in status), "")
        again = "yes" if row["retryable"] else "no"
        yield f"| `{row['code']}` | {plain} | {status.get('anthropic', '')} | {again} | {_escaped(row['message'])} |"
    yield ""
    for dialect in document["x-cortex-dialects"]:
        yield from (f"### Dialect {dialect['name']}", "")
        yield from (f"An error, here with status {dialect['error-status']}:", "", *_block(dialect["error"], "json"))
        yield from (
            "A sign of life in a stream, while the request waits for its model:",
            "",
            *_block(dialect["waiting"]),
        )
        yield from ("The same error where nothing but signs of life was sent:", "", *_block(dialect["error-in-stream"]))


def _escaped(words: str) -> str:
    return words.replace("<", "&lt;")


def _block(text: str, language: str = "text") -> Iterator[str]:
    if language == "json":
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    yield from (f"```{language}", *text.strip("\n").splitlines(), "```", "")


def _calls(document: dict[str, Any]) -> Iterator[str]:
    about = {tag["name"]: tag["description"] for tag in document["tags"]}
    tag = ""
    for path, method, one in _operations(document):
        if one["tags"][0] != tag:
            tag = one["tags"][0]
            yield from (f"## {tag}", "", about[tag], "")
        yield from (
            f"### {method.upper()} {path}",
            "",
            " ".join(filter(None, (one["summary"], one.get("description")))),
            "",
        )
        yield from parameters(one)
        yield from _body(one, document)
        yield from _sent(one)
        yield from _answer(one)


def _body(operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    contents = operation.get("requestBody", {"content": {}})["content"]
    if not contents:
        return
    schema = document["components"]["schemas"][_name_of(next(iter(contents.values())))]
    forms = {"multipart/form-data": "a form", "application/json": "JSON"}
    yield from (f"Body: {' or '.join(forms[media] for media in contents)}.", "")
    plain = [name for name, one in schema["properties"].items() if _is_plain(one) and name not in schema["required"]]
    members = {name: one for name, one in schema["properties"].items() if name not in plain}
    if members:
        yield from ("| member | type | effect | meaning |", "|---|---|---|---|")
        for member, one in members.items():
            required = ", required" if member in schema["required"] else ""
            kind = f"{without_null(one)}{required}"
            yield f"| `{member}` | {kind} | {one['x-cortex-effect']} | {one.get('description', '')} |"
        yield ""
    for effect in PLAIN:
        names = [f"`{name}`" for name in plain if schema["properties"][name]["x-cortex-effect"] == effect]
        if names:
            yield from (f"{LISTED[effect]}: {', '.join(names)}.", "")


def _bodies(document: dict[str, Any]) -> set[str]:
    """Return the names of the types that are shown as the bodies of requests."""
    return {
        _name_of(content)
        for _, _, one in _operations(document)
        for content in one.get("requestBody", {"content": {}})["content"].values()
    }


def _name_of(content: dict[str, Any]) -> str:
    return str(content["schema"]["$ref"]).rpartition("/")[2]


def _is_plain(member: dict[str, Any]) -> bool:
    return member["x-cortex-effect"] in PLAIN and not member.get("description")


def without_null(schema: dict[str, Any]) -> str:
    """Return a type in words, where null is as good as left out."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return in_words({**schema, "anyOf": kinds} if kinds else schema)


def _sent(operation: dict[str, Any]) -> Iterator[str]:
    """Yield an example: what is asked, and what an engine gets of it."""
    if "x-cortex-sent" not in operation:
        return
    (content,) = operation["requestBody"]["content"].values()
    yield from ("A request, and what llama.cpp gets of it:", "", *_example(content["example"]))
    yield from _example(operation["x-cortex-sent"])


def _example(value: Any) -> Iterator[str]:
    yield from ("```json", *json.dumps(value, indent=2, ensure_ascii=False).splitlines(), "```", "")


def _answer(operation: dict[str, Any]) -> Iterator[str]:
    responses = operation["responses"]
    content = responses["200"]["content"]
    kinds = [in_words(one["schema"]) for media, one in content.items() if "$ref" in one["schema"]]
    others = [MEDIA[media] for media, one in content.items() if "$ref" not in one["schema"]]
    said = [f"Answers: 200 {' or '.join([*kinds, *others])}"]
    said += [_status(status, one) for status, one in responses.items() if status not in ("200", "default")]
    about = responses["200"]["description"]
    yield from (f"{', '.join(said)}.{'' if about == 'Done.' else f' {about}'}", "")
    yield from _header_names(responses["200"].get("headers", {}))
    for media, one in content.items():
        if media != "application/json" and "example" in one:
            yield from ("Streamed:", "", *_block(_short(one["example"])))


def _short(text: str) -> str:
    """Return the beginning of each line."""
    return "\n".join(line if len(line) <= LONG else f"{line[:LONG]} …" for line in text.splitlines())


def _status(status: str, answer: dict[str, Any]) -> str:
    return f"{status} {in_words(answer['content']['application/json']['schema'])}" if "content" in answer else status


def _header_names(headers: Iterable[str]) -> Iterator[str]:
    own = [f"`{name}`" for name in headers if "ratelimit" not in name]
    limits = ["how the limits of the key stand"] * any("ratelimit" in name for name in headers)
    if [*own, *limits] not in ([], ["`x-request-id`"]):
        yield from (f"With {', '.join([*own, *limits])}.", "")

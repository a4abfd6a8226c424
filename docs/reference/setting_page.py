"""The keys of the three files with type, bounds, default and variable, as the settings classes have them."""

from collections.abc import Iterator
from typing import Any

import msgspec
from api_page import MADE, default_in_words, in_words, unit_of
from prose import Table, tables

from cortex.contract.profile import Profile, Variant
from cortex.gateway.settings import GatewaySettings
from cortex.neuron.settings import HarnessEntry, NeuronSettings

ABOUT = (
    "What each key means: [Configuration](../configuration.md). In the environment lists and tables are JSON; a list "
    "of tables is set as a whole."
)

NOT_WRITTEN = {"variants"}
"""Made of the tables that are named after harnesses."""


def setting_page() -> str:
    """Return the page."""
    return "\n".join(["# Types of the configuration", "", MADE, "", ABOUT, "", *_sections()])


def _sections() -> Iterator[str]:
    yield from ("## cortex.toml", "")
    for section in msgspec.structs.fields(GatewaySettings):
        entry = _struct_in(section.type)
        is_list = entry is not section.type
        name = section.encode_name
        yield from _table(f"[[{name}]]" if is_list else f"[{name}]", entry, "" if is_list else f"CORTEX_{name}__")
        if is_list:
            yield from (f"All of them: `CORTEX_{name.upper()}`.", "")
    yield from ("## models.toml", "")
    yield from _table("[[models]], [[groups]]", Profile, "")
    yield from _table("A table named after a harness", Variant, "")
    yield from ("## neuron.toml", "")
    yield from _table("The neuron", NeuronSettings, "CORTEX_NEURON_")
    yield from _table("[[harnesses]]", HarnessEntry, "")


def _struct_in(kind: Any) -> Any:
    """Return the struct that a section is, or has a list of."""
    members = [kind, *getattr(kind, "__args__", ())]
    return next(one for one in members if isinstance(one, type) and issubclass(one, msgspec.Struct))


def _table(title: str, kind: Any, prefix: str) -> Iterator[str]:
    shaped, components = msgspec.json.schema_components(
        [kind], schema_hook=lambda _: {"description": "anything"}, ref_template="#/{name}"
    )
    schema = components[shaped[0]["$ref"].rpartition("/")[2]]
    said = _said(title.partition(",")[0])
    yield from (f"### {title}", "")
    yield "| key | type | default |" + (" environment |" if prefix else "")
    yield "|---|---|---|" + ("---|" if prefix else "")
    for key, shape in schema["properties"].items():
        if key in NOT_WRITTEN:
            continue
        default = "required" if key in schema.get("required", ()) else _default(shape, said.get(key))
        variable = f" `{prefix}{key}` |".upper() if prefix else ""
        yield f"| `{key}` | {in_words(shape, tables=True)}{unit_of(key, shape)} | {default} |{variable}"
    yield ""


def _said(heading: str) -> Table:
    """Return what the page that people write has under a heading."""
    return next(iter(tables("configuration.md").get(heading, ())), {})


def _default(shape: dict[str, Any], said: list[str] | None) -> str:
    """Return a default as the file has it; where there is none, the words for what stands in for it."""
    if shape.get("default", "") in (None, ""):
        return said[0] if said else ""
    return default_in_words(shape)

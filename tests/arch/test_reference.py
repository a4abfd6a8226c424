"""The reference pages say what is so: every key with its default, every error with its status, every metric."""

import ast
import json
import re
from types import ModuleType

import msgspec
import pytest
from msgspec.structs import FieldInfo
from tests.arch.source import ROOT, modules, tree

from cortex.contract import error
from cortex.contract.error import CortexError
from cortex.contract.event import NodeChange
from cortex.contract.instance import EndpointAnswer, InstanceReport, LoadRequest, PinRequest, UnloadRequest
from cortex.contract.lease import Lease, LeaseAnswer, LeasePost
from cortex.contract.node import Device, DeviceReading, Discovery, Health, MaintenanceRequest, RestartRequest
from cortex.contract.profile import Profile, Variant
from cortex.gateway import edge_error as gateway_edge
from cortex.gateway.settings import EvictionSection, GatewaySection, GatewaySettings, NeuronEntry, StoreSection
from cortex.kit.trace_setting import TraceSection
from cortex.neuron import edge_error as neuron_edge
from cortex.neuron import refusal
from cortex.neuron.settings import HarnessEntry, NeuronSettings

CONFIGURATION = ROOT / "docs" / "configuration.md"
ERRORS = ROOT / "docs" / "errors.md"
METRICS = ROOT / "docs" / "metrics.md"
NEURON_API = ROOT / "docs" / "neuron-api.md"

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "[gateway]": GatewaySection,
    "[eviction]": EvictionSection,
    "[[neurons]]": NeuronEntry,
    "[store]": StoreSection,
    "[trace]": TraceSection,
    "[[models]]": Profile,
    "A table named after a harness": Variant,
    "The neuron": NeuronSettings,
    "[[harnesses]]": HarnessEntry,
}
"""Headings of the reference and the struct that each describes."""

TABLES = {"neurons", "harnesses", "variants", "trace"}
"""Keys that have a section of their own."""

MESSAGES: dict[str, type[msgspec.Struct]] = {
    "GET /discovery": Discovery,
    "One of devices": Device,
    "GET /health": Health,
    "One of the sampled devices": DeviceReading,
    "One of GET /models": InstanceReport,
    "GET /events": NodeChange,
    "POST /leases": LeasePost,
    "One of leases": Lease,
    "The answer to POST /leases": LeaseAnswer,
    "POST /models/load": LoadRequest,
    "POST /models/unload": UnloadRequest,
    "POST /models/pin": PinRequest,
    "POST /maintenance": MaintenanceRequest,
    "POST /harnesses/{name}/restart": RestartRequest,
    "GET /models/{id}/endpoint": EndpointAnswer,
}
"""Headings of the page about the neuron's API and the struct that each describes."""

METRIC_MAKERS = {"CounterMetricFamily": "counter", "HistogramFamily": "histogram", "gauge": "gauge"}


def rows(heading: str) -> list[tuple[str, str]]:
    """Return key and default of every line in the table under a heading of the reference."""
    text = CONFIGURATION.read_text()
    section = re.split(r"^#+ .*$", text.partition(f"\n### {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", section, re.MULTILINE)


def default_of(field: FieldInfo) -> str | None:
    """Return a field's default as TOML has it, None where there is none to be written down."""
    value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    if value is None or value == "":
        return None
    return f"`{json.dumps(value, ensure_ascii=False)}`"


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_reference_has_exactly_the_keys_that_there_are(heading: str) -> None:
    keys = [key for key, _ in rows(heading)]
    assert keys == [
        field.encode_name for field in msgspec.structs.fields(SECTIONS[heading]) if field.name not in TABLES
    ]


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_reference_has_the_right_defaults(heading: str) -> None:
    said = dict(rows(heading))
    for field in msgspec.structs.fields(SECTIONS[heading]):
        if field.name in TABLES:
            continue
        words = said[field.encode_name]
        if field.required:
            assert words == "required", field.name
        elif default_of(field) is None:
            assert re.search(r"\w", words), field.name
            assert not re.fullmatch(r"`[^`]*`", words), f"{field.name} has no default, but one is written down"
        else:
            assert words == default_of(field), field.name


def test_every_section_of_the_gateway_is_in_the_reference() -> None:
    sections = {heading.strip("[]") for heading in SECTIONS}
    assert {field.encode_name for field in msgspec.structs.fields(GatewaySettings)} <= sections


@pytest.mark.parametrize("heading", MESSAGES)
def test_the_api_page_has_exactly_the_fields_that_there_are(heading: str) -> None:
    section = NEURON_API.read_text().partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    said = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert said == [field.encode_name for field in msgspec.structs.fields(MESSAGES[heading])]


def statuses(heading: str) -> dict[str, int]:
    """Return status by code of the table under a heading of the page about errors."""
    section = ERRORS.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return {code: int(status) for code, status in re.findall(r"^\| `(\w+)` \| (\d+) \|", section, re.MULTILINE)}


def errors_of(*modules: ModuleType) -> dict[str, type[CortexError]]:
    """Return the errors that modules know by their code; of two with one code that of the later module."""
    kinds = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    return {kind.code: kind for kind in kinds if issubclass(kind, CortexError)}


def test_every_error_of_the_gateway_is_on_its_page_with_its_status() -> None:
    answered = {code: kind for code, kind in errors_of(error).items() if kind is not error.ConfigError}
    assert statuses("From the gateway") == {code: gateway_edge.status_of(kind()) for code, kind in answered.items()}


def test_every_error_of_a_neuron_is_on_its_page_with_its_status() -> None:
    said, known = statuses("From a neuron"), errors_of(error, refusal)
    assert said == {code: neuron_edge.status_of(kind()) for code, kind in known.items() if code in said}
    assert {kind.code for kind in errors_of(refusal).values() if kind.__module__ == refusal.__name__} <= set(said)


def test_every_metric_has_its_line() -> None:
    said = re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS.read_text(), re.MULTILINE)
    assert sorted(said) == sorted(metrics())


def metrics() -> list[tuple[str, str]]:
    """Return name and kind of every metric that the daemons make."""
    found = []
    for path in (*modules("cortex.gateway"), *modules("cortex.neuron")):
        for node in ast.walk(tree(path)):
            kind = METRIC_MAKERS.get(ast.unparse(node.func)) if isinstance(node, ast.Call) else None
            if kind and isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant):
                found.append((f"{node.args[0].value}_total" if kind == "counter" else str(node.args[0].value), kind))
    return found

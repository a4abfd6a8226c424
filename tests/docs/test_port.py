"""The ports that pages and examples name are those that the programs take, and that are opened for them."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.arch.source import ROOT, files, relative
from tests.docs.block import PAGES

from cortex.gateway.settings import GatewaySection
from cortex.neuron.settings import NeuronSettings

FIREWALLD = ROOT / "packaging" / "rpm" / "firewalld"
EXAMPLES = [
    path for path in files() if path.is_relative_to(ROOT / "packaging") and path.suffix in (".toml", ".yml", ".5")
]
RANGE = re.compile(r"port_range\W{1,6}(\d+), (\d+)")
SPOKEN = re.compile(r"\b(8\d{3})(?:-| to )(8\d{3})\b")


def opened(service: str) -> list[tuple[int, int]]:
    """Return the ports of a firewalld service, each as the first and the last of a range."""
    found = [port.attrib["port"] for port in ET.parse(FIREWALLD / f"{service}.xml").iter("port")]
    spans = [span.partition("-") for span in found]
    return [(int(first), int(last or first)) for first, _, last in spans]


def ranges(path: Path) -> Iterator[tuple[int, int]]:
    for first, last in RANGE.findall(path.read_text()):
        yield int(first), int(last)


def test_a_firewall_opens_what_the_programs_listen_on() -> None:
    listen, metrics = (
        int(place.rpartition(":")[2]) for place in (GatewaySection().listen, GatewaySection().metrics_listen)
    )
    assert opened("cortex") == [(listen, listen)]
    assert opened("cortex-metrics") == [(metrics, metrics)]
    assert opened("cortex-neuron")[0] == (NeuronSettings().port, NeuronSettings().port)


@pytest.mark.parametrize("path", [path for path in (*PAGES, *EXAMPLES) if list(ranges(path))], ids=relative)
def test_engines_are_put_where_the_firewall_is_open(path: Path) -> None:
    first, last = opened("cortex-neuron")[1]
    assert [span for span in ranges(path) if not first <= span[0] <= span[1] <= last] == []


@pytest.mark.parametrize("path", [path for path in PAGES if SPOKEN.search(path.read_text())], ids=relative)
def test_a_page_names_the_whole_of_what_is_open(path: Path) -> None:
    said = {(int(first), int(last)) for first, last in SPOKEN.findall(path.read_text())}
    assert said == {opened("cortex-neuron")[1]}

"""The page about doctor has every check of both daemons, no other, and the members and codes that scripts rely on."""

import re
from pathlib import Path

import msgspec
import pytest
from tests.arch.source import ROOT

from cortex.cli.doctor.examination import DEADLINE_S, Check
from cortex.cli.doctor.finding import EXIT_CODES, Finding
from cortex.cli.doctor.gateway.check import checks as of_gateway
from cortex.cli.doctor.gateway.look import GatewayLook
from cortex.cli.doctor.node.check import checks as of_node
from cortex.cli.doctor.node.command import DEADLINE_S as NODE_DEADLINE_S
from cortex.cli.doctor.node.look import NodeLook
from cortex.cli.doctor.report import WIDTH, as_json
from cortex.kit.clock import SystemClock

PAGE = (ROOT / "docs" / "operations" / "doctor.md").read_text()
NOWHERE = Path("/nowhere")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def firsts(text: str) -> list[str]:
    """Return the first cells of the rows of tables, where they are code."""
    return re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)


def gateways_checks() -> tuple[Check, ...]:
    return of_gateway(GatewayLook(None, {}, NOWHERE, NOWHERE, SystemClock()))


def nodes_checks() -> tuple[Check, ...]:
    return of_node(NodeLook(None, {}, NOWHERE, NOWHERE, SystemClock()))


@pytest.mark.parametrize(
    ("title", "checks"),
    [("Checks of a gateway", gateways_checks()), ("Checks of a node", nodes_checks())],
    ids=["gateway", "node"],
)
def test_every_check_has_its_row_in_its_order(title: str, checks: tuple[Check, ...]) -> None:
    assert firsts(section(title)) == [check.id for check in checks]
    assert max(len(check.id) for check in checks) < WIDTH


def test_every_member_has_its_row() -> None:
    members = {*as_json("cortex", []), *(field.encode_name for field in msgspec.structs.fields(Finding))}
    assert set(firsts(section("For scripts"))) == members - {"findings"}


def test_the_codes_are_those_of_the_results() -> None:
    assert re.findall(r"^\| (\d) \|", section("Exit codes"), re.MULTILINE) == ["0", "1", "2"]
    assert {result for result in EXIT_CODES if f"`{result}`" in section("For scripts")} == set(EXIT_CODES)
    assert f"{DEADLINE_S:g} for a gateway, {NODE_DEADLINE_S:g} for a node" in PAGE

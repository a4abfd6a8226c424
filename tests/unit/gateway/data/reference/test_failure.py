"""Every error that clients may be told is in the document, as each dialect has it, and no other."""

import ast
from typing import Any

import pytest
from tests.arch.source import modules, tree
from tests.unit.gateway.data.reference.schema_checker import DOCUMENT, check

from cortex.contract import error
from cortex.contract.error import CortexError
from cortex.dialects.interface import Dialect
from cortex.gateway.data.reference.failure import (
    DIALECTS,
    NOT_TOLD,
    an_error,
    envelope_of,
    response_name,
    table,
    told_in,
)
from cortex.gateway.data.refusal import retry_lines
from cortex.gateway.data.route import INFERENCE
from cortex.gateway.edge_error import status_of

KINDS = [kind for kind in vars(error).values() if isinstance(kind, type) and issubclass(kind, CortexError)]
RESPONSES: dict[str, Any] = DOCUMENT["components"]["responses"]


def test_every_error_is_told_of_or_is_none_of_clients() -> None:
    told = {kind for dialect in DIALECTS for kind in told_in(dialect.name)}
    assert told | set(NOT_TOLD) == set(KINDS)
    assert told & set(NOT_TOLD) == set()


def test_what_is_none_of_clients_is_raised_neither_by_the_data_plane_nor_by_a_dialect() -> None:
    names = {kind.__name__ for kind in NOT_TOLD}
    for path in (*modules("cortex.gateway.data"), *modules("cortex.dialects")):
        if "reference" not in path.parts:
            used = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
            assert names & used == set(), path


def test_what_one_dialect_has_is_raised_there() -> None:
    """``ImageUnavailable`` comes of pictures that are fetched, which other dialects' requests do not need."""
    own = {dialect.name: set(told_in(dialect.name)) for dialect in DIALECTS}
    assert own["anthropic"] - own["openai"] == {error.ImageUnavailable, error.ThreadUnsupported}
    kept = {error.PreviousResponseNotFound, error.ResponseNotFound}
    assert own["responses"] - own["openai"] == {error.ImageUnavailable, *kept}
    assert own["ollama"] == own["openai"]


def test_every_dialect_of_the_routes_is_there() -> None:
    assert {dialect.name for dialect in DIALECTS} == {route.dialect.name for route in INFERENCE.values()}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_an_error_has_its_status_its_words_and_its_headers(dialect: Dialect) -> None:
    for kind in told_in(dialect.name):
        one = an_error(kind)
        answer = RESPONSES[response_name(dialect.name, status_of(one, dialect.name))]
        content = answer["content"]["application/json"]
        assert content["schema"]["$ref"].endswith(envelope_of(dialect.name))
        example = content["examples"][kind.code]["value"]
        check(example, envelope_of(dialect.name))
        assert one.message in str(example) or kind is error.ContextExceeded
        lines = retry_lines(one).decode().splitlines()
        assert {line.partition(":")[0] for line in lines} <= set(answer["headers"])


def test_the_table_has_every_code_once_with_all_its_statuses() -> None:
    rows = table()
    assert len({row["code"] for row in rows}) == len(rows)
    assert {row["code"] for row in rows} == {kind.code for kind in KINDS if kind not in NOT_TOLD}
    (busy,) = (row for row in rows if row["code"] == "queue_full")
    assert busy["status"] == {"openai": 503, "responses": 503, "anthropic": 529, "ollama": 503}

"""Rows of each part: what stands in them, and in which order."""

import pytest
from tests.unit.cli.top.fleet import BUSY, CPU, GPU, a_node, an_instance

from cortex.cli.top.glance import Glance, Key
from cortex.cli.top.grid import Bar
from cortex.cli.top.part import bar_of, gib, models_part, nodes_part, note_of, requests_part, span_of


def test_the_bar_tells_models_strangers_and_promises_apart() -> None:
    assert bar_of(GPU) == Bar((16_384, 4096, 2048), 32_768)


def test_the_overview_leaves_the_cpu_out_where_there_is_a_gpu_and_the_nodes_have_a_row_per_device() -> None:
    assert len(nodes_part(BUSY, Glance()).rows) == 3
    rows = nodes_part(BUSY, Glance(view="nodes")).rows
    assert [row.key for row in rows] == [
        Key("node", "beast"),
        None,
        Key("node", "benjy"),
        Key("node", "spare"),
        None,
    ]


@pytest.mark.parametrize(
    ("sort", "models"),
    [
        ("default", ["org/new", "bad", "org/coder"]),
        ("name", ["bad", "org/coder", "org/new"]),
        ("busy", ["org/coder", "bad", "org/new"]),
    ],
)
def test_models_are_sorted(sort: str, models: list[str]) -> None:
    rows = models_part(BUSY, Glance(sort=sort)).rows
    assert [row.key.name for row in rows if row.key is not None] == models


def test_requests_that_run_are_first() -> None:
    kinds = [row.key.kind for row in requests_part(BUSY, Glance()).rows if row.key is not None]
    assert kinds == ["running"] * 3 + ["finished"] * 2


def test_notes_say_what_else_there_is() -> None:
    assert note_of(an_instance("m", "n", "loading", progress=0.4, ready=False)) == "40%"
    assert note_of(an_instance("m", "n", pinned=True, ready=False)) == "pinned, not reached yet"


def test_a_device_that_does_not_tell_has_no_bar() -> None:
    (row,) = nodes_part(BUSY.__class__(url="", nodes=(a_node("n", devices=(CPU,)),)), Glance()).rows
    assert not any(isinstance(cell, Bar) for cell in row.cells())


def test_durations_and_amounts_are_short() -> None:
    assert [span_of(value) for value in (0.04, 9.96, 61, 7300, 200_000)] == ["0.0s", "10.0s", "1m", "2h", "2d"]
    assert (gib(1536), gib(200_000)) == ("1.5", "195")

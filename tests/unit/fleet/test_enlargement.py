"""How much is asked for after a model ran out of memory."""

import pytest
from tests.unit.fleet.builder import a_node

from cortex.fleet.enlargement import enlarged_mb


@pytest.mark.parametrize(
    ("asked_mb", "devices", "vram_mb", "free_mb", "wanted_mb"),
    [
        (10_000, (0,), (24_000,), (11_000,), 12_000),
        (10_000, (0,), (24_000,), (20_000,), 20_001),
        (10_000, (0,), (24_000,), (24_000,), 24_000),
        (10_000, (0, 1), (24_000, 24_000), (9000, 20_000), 18_002),
        (30_000, (0,), (24_000,), (24_000,), 30_000),
        (10_000, (0,), (24_000,), (None,), 12_000),
        (10_000, (), (24_000,), (24_000,), 12_000),
    ],
    ids=["a fifth more", "more than was free", "no more than there is", "by the fullest of two", "too much already",
         "nobody knows what is free", "the node chose"],
)  # fmt: skip
def test_more_is_asked_for_than_did_not_do(
    asked_mb: int, devices: tuple[int, ...], vram_mb: tuple[int, ...], free_mb: tuple[int | None, ...], wanted_mb: int
) -> None:
    memory = a_node("a", vram_mb, free_mb=free_mb).memory
    assert enlarged_mb(asked_mb, devices, memory) == wanted_mb


def test_node_of_which_nothing_is_known_is_asked_for_a_fifth_more() -> None:
    assert enlarged_mb(1000, (0,), None) == 1200

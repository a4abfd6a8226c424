"""Whoever asks for more seeds gives each simulation as much more time; unasked, the limit is that of any test."""

import os
from pathlib import Path

import pytest

SECONDS_A_SEED = 4.0
"""Of a machine that has much else to do: the dearest seed, a whole fleet, takes half a second of one that has not."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "SEEDS" not in os.environ:
        return
    limit_s = float(config.getini("timeout")) + SECONDS_A_SEED * int(os.environ["SEEDS"])
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(limit_s))

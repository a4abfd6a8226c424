"""Defects that are put in on purpose: a simulation that does not notice them proves nothing."""

from collections.abc import Callable

import pytest

Defect = Callable[[pytest.MonkeyPatch], None]


def name_of(defect: Defect) -> str:
    """Return how a test of it is called."""
    return defect.__name__.strip("_")


def check_caught(defect: Defect, play: Callable[[int], object], seeds: int, *fouls: type[BaseException]) -> None:
    """Put a defect in and play, and fail unless one of so many seeds ends with a foul."""
    with pytest.MonkeyPatch.context() as patch:
        defect(patch)
        for seed in range(seeds):
            try:
                play(seed)
            except fouls:
                return
    pytest.fail(f"{seeds} seeds did not notice")

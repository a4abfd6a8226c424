"""The figures of a run: every value of every round, by gateway and measure; a cell shows their median."""

import json
import statistics
from collections import Counter, defaultdict
from pathlib import Path


class Book:
    """Figures, and why some are missing."""

    def __init__(self) -> None:
        self._values: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.missing: dict[str, str] = {}
        """Gateways that could not be measured, with the reason."""
        self.remarks: defaultdict[str, list[str]] = defaultdict(list)
        """What a reader of a gateway's row must know."""
        self.failures: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """How exchanges ended that should have been answered, and how many."""

    def add(self, gateway: str, measure: str, value: float) -> None:
        self._values[gateway][measure].append(value)

    def remark(self, gateway: str, text: str) -> None:
        if text not in self.remarks[gateway]:
            self.remarks[gateway].append(text)

    def values(self, gateway: str, measure: str) -> list[float]:
        return self._values[gateway].get(measure, [])

    def median(self, gateway: str, measure: str) -> float | None:
        values = self.values(gateway, measure)
        return statistics.median(values) if values else None

    def spread(self, gateway: str, measure: str) -> tuple[float, float] | None:
        values = self.values(gateway, measure)
        return (min(values), max(values)) if len(values) > 1 else None

    def worst(self, gateway: str, measure: str) -> float | None:
        return max(self.values(gateway, measure), default=None)

    def save(self, path: Path) -> None:
        """Write every single value, for whoever doubts a median."""
        raw = {"values": self._values, "missing": self.missing, "remarks": self.remarks, "failures": self.failures}
        path.write_text(json.dumps(raw, indent=1))

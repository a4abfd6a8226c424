"""Reads what engines count out of their metrics in Prometheus' text format."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from cortex.neuron.harness.interface import Activity

_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{.*\})? +([0-9.eE+-]+)(?: +-?\d+)?$", re.MULTILINE)


def sums(text: str) -> Mapping[str, float]:
    """Return every metric by its name, summed over its labels. Raises: ValueError for what is no number."""
    found: defaultdict[str, float] = defaultdict(float)
    for name, number in _SAMPLE.findall(text):
        found[name] += float(number)
    return found


def activity_reader(in_flight: Sequence[str], work: Sequence[str]) -> Callable[[str], Activity | None]:
    """Return what reads an engine's activity: sums of metrics, of which the first in flight must be there."""

    def read(text: str) -> Activity | None:
        found = sums(text)
        if in_flight[0] not in found:
            return None
        return Activity(
            in_flight=int(sum(found.get(name, 0) for name in in_flight)),
            work=sum(found.get(name, 0) for name in work),
        )

    return read

"""Several probes that see the same devices, each by a way of its own: the first that finds any is asked.

It is chosen anew at every scan: a driver's library that does not work may do so later, and the program beside it now.
"""

import logging

from cortex.neuron.discovery.interface import Probe, Reading, Scan

log = logging.getLogger(__name__)


class FirstThatFinds:
    """The best of several probes."""

    def __init__(self, *probes: Probe) -> None:
        self._probes = probes
        self._chosen: Probe | None = None

    def scan(self) -> Scan:
        scans = []
        for probe in self._probes:
            scan = probe.scan()
            if scan.devices:
                self._choose(probe)
                return scan
            scans.append(scan)
        self._choose(None)
        # They fail for one reason; the first one knows most of it.
        return next((scan for scan in scans if scan.trouble), scans[0])

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        return () if self._chosen is None else self._chosen.read(pids)

    def _choose(self, probe: Probe | None) -> None:
        if probe is not self._chosen and probe is not None:
            log.info("devices are read by %s", type(probe).__name__)
        self._chosen = probe

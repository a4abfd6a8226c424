"""Warns of engines that were built for a newer CUDA than this node's driver supports: they start and then fail.

A driver supports what it names and everything older. An engine may be known by its major version alone.
"""

import logging
import re
from collections.abc import Iterable

from cortex.contract.node import HarnessDetail

log = logging.getLogger(__name__)


def is_newer(built_for: str, supported: str) -> bool:
    """Tell whether a CUDA version is newer than another, as far as both are known; what is no version is not."""
    mine, theirs = (tuple(map(int, re.findall(r"\d+", text)[:2])) for text in (built_for, supported))
    known = min(len(mine), len(theirs))
    return mine[:known] > theirs[:known]


class CudaCheck:
    """Says each thing once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def tell(self, details: Iterable[HarnessDetail], driver_version: str | None, supported: str | None) -> None:
        """Warn of every harness whose engine is newer than what the driver supports."""
        for detail in details:
            if detail.engine_cuda is None or supported is None or not is_newer(detail.engine_cuda, supported):
                continue
            words = (
                f"harness {detail.name}: its engine was built for CUDA {detail.engine_cuda}, and driver "
                f"{driver_version or 'of this node'} supports CUDA {supported} at most: update the driver, or install "
                "the build for an older CUDA"
            )
            if words not in self._said:
                self._said.add(words)
                log.warning("%s", words)

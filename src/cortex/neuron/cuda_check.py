"""Warns of engines that do not fit this node: built for a newer CUDA than its driver supports, or for other GPUs.

Both start and then fail. A driver supports what it names and everything older; an engine may be known by its major
version alone. Code for one compute capability runs on GPUs of the same major version from there on; that with an "a"
("12.0a") on GPUs of just this one. Source: NVIDIA, CUDA C++ Programming Guide, binary compatibility.
"""

import logging
import re
from collections.abc import Iterable, Sequence

from cortex.contract.node import Device, HarnessDetail

log = logging.getLogger(__name__)


def is_newer(built_for: str, supported: str) -> bool:
    """Tell whether a CUDA version is newer than another, as far as both are known; what is no version is not."""
    mine, theirs = (tuple(map(int, re.findall(r"\d+", text)[:2])) for text in (built_for, supported))
    known = min(len(mine), len(theirs))
    return mine[:known] > theirs[:known]


def suits(built_for: str, capability: str) -> bool:
    """Tell whether code for one compute capability runs on a GPU of another."""
    mine, its = (tuple(map(int, text.removesuffix("a").split("."))) for text in (built_for, capability))
    return mine == its or (not built_for.endswith("a") and mine[0] == its[0] and mine < its)


def unsuited(detail: HarnessDetail, devices: Iterable[Device]) -> tuple[list[Device], list[Device]]:
    """Return the GPUs that an engine has no code for, and all that were asked about: whose capability is known.

    Both are empty where nobody knows what the engine was built for.
    """
    built_for = detail.engine_capability
    if built_for is None:
        return [], []
    asked = [one for one in devices if one.kind in ("cuda", "mig") and one.compute_capability is not None]
    return [one for one in asked if not suits(built_for, one.compute_capability or "")], asked


def fits_nothing(detail: HarnessDetail, supported: str | None, devices: Iterable[Device]) -> bool:
    """Tell whether an engine fits nothing here: neither the driver, nor any GPU."""
    if detail.engine_cuda is not None and supported is not None and is_newer(detail.engine_cuda, supported):
        return True
    wrong, asked = unsuited(detail, devices)
    return bool(wrong) and len(wrong) == len(asked)


class CudaCheck:
    """Says each thing once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def tell(
        self,
        details: Iterable[HarnessDetail],
        driver_version: str | None,
        supported: str | None,
        devices: Sequence[Device] = (),
    ) -> None:
        """Warn of every harness whose engine is newer than what the driver supports, or has no code for a GPU."""
        for detail in details:
            if detail.engine_cuda is not None and supported is not None and is_newer(detail.engine_cuda, supported):
                self._warn(
                    f"harness {detail.name}: its engine was built for CUDA {detail.engine_cuda}, and driver "
                    f"{driver_version or 'of this node'} supports CUDA {supported} at most: update the driver, or "
                    "install the build for an older CUDA"
                )
            if wrong := unsuited(detail, devices)[0]:
                names = ", ".join(f"{one.name} (index {one.index}, {one.compute_capability})" for one in wrong)
                self._warn(
                    f"harness {detail.name}: its engine was built for GPUs of compute capability "
                    f"{detail.engine_capability}, and has no code for {names}: install the build for these"
                )

    def _warn(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            log.warning("%s", words)

"""A node as it is now, whole: what a refused load is answered with, so that the caller can plan anew at once."""

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.node import Health


class NodeSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """``details.snapshot`` of a 409 from ``POST /models/load``: what ``GET /models`` and ``GET /health`` tell."""

    start_id: str
    event: int
    models: tuple[InstanceReport, ...]
    health: Health

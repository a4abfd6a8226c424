"""Remembers of which version each gateway says it is, and logs those too far from this neuron's: once each.

Turns nobody away.
"""

import logging
from collections import OrderedDict

from cortex import __version__
from cortex.contract.version import skew_trouble

REMEMBERED = 256
"""Gateways; one that has reported longest ago is forgotten first."""

log = logging.getLogger(__name__)


class GatewayVersions:
    """What was heard so far."""

    def __init__(self, ours: str = __version__) -> None:
        self._ours = ours
        self._heard: OrderedDict[str, str] = OrderedDict()

    def hear(self, gateway_id: str, version: str) -> None:
        """Note the version that a report names; empty: of a gateway that says none."""
        if self._heard.get(gateway_id) != version:
            self._heard[gateway_id] = version
            trouble = skew_trouble(version, self._ours, f"gateway {gateway_id}")
            if trouble:
                log.warning("%s", trouble)
        self._heard.move_to_end(gateway_id)
        if len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)

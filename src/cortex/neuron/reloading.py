"""Which keys of ``neuron.toml`` take effect while a neuron runs, and what is said of the others."""

import logging
from collections.abc import Callable

import msgspec

from cortex.contract.error import ConfigError
from cortex.neuron.settings import NeuronSettings

Reread = Callable[[], NeuronSettings]

LIVE = ("token_file", "trusted_networks", "log_level")

log = logging.getLogger(__name__)


def renewed(settings: NeuronSettings, reread: Reread) -> NeuronSettings:
    """Return the settings to go by from now on: those of before, with what can change as the file has it now.

    What a restart takes is told, and so is a file that cannot be used: then all stays as it was.
    """
    try:
        wanted = reread()
    except ConfigError as error:
        log.error("SIGHUP: the configuration stays as it was: %s", error.message)
        return settings
    changed = [key for key in NeuronSettings.__struct_fields__ if getattr(settings, key) != getattr(wanted, key)]
    later = [key for key in changed if key not in LIVE]
    if later:
        log.warning("SIGHUP: changed, but in effect only after a restart, which keeps engines: %s", ", ".join(later))
    return msgspec.structs.replace(settings, **{key: getattr(wanted, key) for key in changed if key in LIVE})

"""Which keys of ``neuron.toml`` take effect while a neuron runs, and what is said of the others and of mistakes."""

import logging
from collections.abc import Callable

import msgspec

from cortex.contract.error import ConfigError
from cortex.neuron.settings import NeuronSettings

Reread = Callable[[], NeuronSettings]

LIVE = ("token_file", "trusted_networks", "log_level")

log = logging.getLogger(__name__)


class Reloading:
    """Reads the settings again, and remembers whether what was read could be used. ``epoch_s``: UTC now."""

    def __init__(self, reread: Reread, epoch_s: Callable[[], float]) -> None:
        self._reread = reread
        self._epoch_s = epoch_s
        self.is_good = True
        """Whether all could be used when it was last read."""
        self.read_s = epoch_s()
        """When the file was last read and could be used, UTC epoch seconds."""

    def renewed(self, settings: NeuronSettings) -> NeuronSettings:
        """Return the settings to go by from now on: those of before, with what can change as the file has it now.

        What a restart takes is told, and so is a file that cannot be used: then all stays as it was.
        """
        try:
            wanted = self._reread()
        except ConfigError as error:
            self.failed("configuration", error)
            return settings
        self.is_good, self.read_s = True, self._epoch_s()
        changed = [key for key in NeuronSettings.__struct_fields__ if getattr(settings, key) != getattr(wanted, key)]
        later = [key for key in changed if key not in LIVE]
        if later:
            log.warning(
                "SIGHUP: changed, but in effect only after a restart, which keeps engines: %s", ", ".join(later)
            )
        return msgspec.structs.replace(settings, **{key: getattr(wanted, key) for key in changed if key in LIVE})

    def failed(self, what: str, error: ConfigError) -> None:
        """Something that was read again cannot be used, and stays as it was."""
        self.is_good = False
        log.error("SIGHUP: the %s stays as it was: %s", what, error.message)

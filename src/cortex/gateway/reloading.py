"""Reads ``cortex.toml`` again, has what can change while it runs changed, and says what takes a restart.

A file that cannot be used changes nothing and is told of, in the log and by a metric. Does not know how a change is
made: whoever has the parts is told. The catalogue is ``catalogue_watch``'s.
"""

import logging
from collections.abc import Callable, Iterator

import msgspec
from prometheus_client.core import Metric

from cortex.contract.error import CortexError
from cortex.gateway.data.metric import gauge
from cortex.gateway.settings import GatewaySettings
from cortex.kit.clock import Clock

Reread = Callable[[], GatewaySettings]

LIVE = frozenset(
    (
        "max_body_mb",
        "max_header_kb",
        "max_connections",
        "max_connections_per_address",
        "head_timeout_s",
        "max_buffered_mb",
        "min_body_bytes_per_s",
        "allowed_hosts",
        "cors_origins",
        "heartbeat_after_s",
        "heartbeat_every_s",
        "unstreamed_wait_s",
        "first_token_timeout_s",
        "stall_timeout_s",
        "client_stall_s",
        "keep_alive_s",
        "shutdown_grace_s",
        "drain_delay_s",
        "handover_grace_s",
        "access_log",
        "log_level",
        "trusted_proxies",
        "trusted_networks",
        "keys_fail_closed",
    )
)
"""Keys of ``[gateway]`` that take effect while it runs."""

log = logging.getLogger(__name__)


class Reloading:
    """The settings that a process runs with. ``apply`` is called with them when some have changed."""

    def __init__(self, settings: GatewaySettings, reread: Reread | None, clock: Clock) -> None:
        self.settings = settings
        self.apply: Callable[[GatewaySettings], None] = lambda _: None
        self._reread = reread
        self._clock = clock
        self._is_good = True
        self._read_s = clock.epoch_s()
        self._waiting: tuple[str, ...] = ()

    def read(self) -> None:
        """Read the file again, and go by what it says as far as that can be."""
        if self._reread is None:
            return
        try:
            wanted = self._reread()
        except CortexError as error:
            self._is_good = False
            log.error("the configuration was not reloaded, the old one stays: %s", error.message)
            return
        self._is_good = True
        self._read_s = self._clock.epoch_s()
        self._take(wanted)

    def collect(self) -> Iterator[Metric]:
        """Yield whether the file could be used when it was last read, and when it last could."""
        about = "1: cortex.toml could be used when it was last read, 0: the configuration before it goes on."
        yield gauge("cortex_config_reload_success", about, (), [((), float(self._is_good))])
        about = "When cortex.toml was last read and could be used, in seconds since 1970."
        yield gauge("cortex_config_reload_seconds", about, (), [((), self._read_s)])

    def _take(self, wanted: GatewaySettings) -> None:
        changed = changes(self.settings, wanted)
        now = {key: getattr(wanted.gateway, key) for key in LIVE if f"[gateway] {key}" in changed}
        later = tuple(key for key in changed if key.removeprefix("[gateway] ") not in LIVE)
        if now:
            self.settings = msgspec.structs.replace(
                self.settings, gateway=msgspec.structs.replace(self.settings.gateway, **now)
            )
            self.apply(self.settings)
            log.info("configuration reloaded: %s", ", ".join(sorted(now)))
        if later and later != self._waiting:
            log.warning("changed, but in effect only after a restart (or SIGUSR2): %s", ", ".join(later))
        elif not now:
            log.info("configuration reloaded: nothing has changed")
        self._waiting = later


def changes(before: GatewaySettings, after: GatewaySettings) -> list[str]:
    """Return the keys that differ, as people write them: ``[gateway] listen``, ``[[neurons]]``."""
    found = []
    for section in GatewaySettings.__struct_fields__:
        old, new = getattr(before, section), getattr(after, section)
        if old == new:
            continue
        if isinstance(old, msgspec.Struct) and type(old) is type(new):
            keys = type(old).__struct_fields__
            found += [f"[{section}] {key}" for key in keys if getattr(old, key) != getattr(new, key)]
        else:
            found.append(f"[[{section}]]")
    return found

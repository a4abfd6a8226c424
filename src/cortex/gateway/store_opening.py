"""Opens the store that the settings name. Imports its libraries only then: without a store they need not be there."""

import logging
from typing import TYPE_CHECKING

from cortex.contract.error import ConfigError
from cortex.gateway.settings import StoreSection
from cortex.gateway.store_url import parse_store_url
from cortex.kit.clock import Clock

if TYPE_CHECKING:
    from cortex.gateway.store.database import Database


def open_store(
    section: StoreSection, clock: Clock, who: str, deadline_s: float = 2.0, *, is_second: bool = False
) -> "Database | None":
    """Return the database of ``[store] url``, None without one. It is not asked anything yet.

    ``deadline_s``: for one piece of work. ``is_second``: another one tells people when it is gone.

    Raises: ConfigError when what it takes is not installed.
    """
    if section.url is None:
        return None
    try:
        from cortex.gateway.store.database import Database

        told_at = logging.DEBUG if is_second else logging.WARNING
        return Database(parse_store_url(section.url), clock, who=who, deadline_s=deadline_s, told_at=told_at)
    except ImportError as exc:
        raise ConfigError(
            f'[store] url: {exc.name or "a library"} is not installed; the extra "store" has it: '
            "pip install 'cortex-gateway[store]'"
        ) from exc

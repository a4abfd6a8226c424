"""``cortex keys create --admin``: makes a key in the configured store itself, past every gateway.

The one command that opens the store: whoever may read its URL may do so, and nobody else can make the first key.
"""

import asyncio
from pathlib import Path

from cortex.cli.serve import look
from cortex.contract.error import ConfigError
from cortex.contract.key import KeyMade, KeyWish
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import SystemClock


def make_key(config: Path | None, wish: KeyWish) -> KeyMade:
    """Make a key. Raises: ConfigError, StoreUnavailable."""
    return asyncio.run(_make(config, wish))


async def _make(config: Path | None, wish: KeyWish) -> KeyMade:
    settings = look(config).settings
    store = open_store(settings.store, SystemClock(), "cortex keys")
    if store is None:
        raise ConfigError("keys live in the store, and there is none: set url under [store] in cortex.toml")
    from cortex.gateway.store.key import StoredKeys

    try:
        return await StoredKeys(store).create(wish)
    finally:
        await store.close()

"""A gateway's limiter in a process of its own: ``python -m tests.integration.store.quota_holder URL HOLDER LEASE_S``.

Takes as many places of the key as it gets, says how many, and waits to be killed.
"""

import asyncio
import sys

from tests.integration.store.quota_crowd import KEY_OF_PLACES, SMALL, QuotaGateway

from cortex.fleet import quota_book
from cortex.fleet.quota_holding import Admission


async def main(url: str, holder: str) -> None:
    gateway = QuotaGateway(url, holder)
    count = 0
    while isinstance(await gateway.enter(KEY_OF_PLACES, SMALL), Admission):
        count += 1
    print(count)
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    quota_book.LEASE_S = float(sys.argv[3])  # the store's half runs where the report is made
    asyncio.run(main(*sys.argv[1:3]))

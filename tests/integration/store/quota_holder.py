"""A gateway's limiter in a process of its own: ``python -m tests.integration.store.quota_holder URL HOLDER LEASE_S``.

Takes as many places of the key as it gets, says how many, and waits to be killed. With the word ``stops`` besides it
stands still while it has the key's row, as a machine does that is suspended.
"""

import asyncio
import os
import signal
import sys

from tests.integration.store.quota_crowd import KEY_OF_PLACES, SMALL, QuotaGateway

from cortex.fleet import quota_book
from cortex.fleet.quota_holding import Admission
from cortex.gateway.store import quota


async def main(url: str, holder: str) -> None:
    gateway = QuotaGateway(url, holder)
    count = 0
    while isinstance(await gateway.enter(KEY_OF_PLACES, SMALL), Admission):
        count += 1
    print(count)
    sys.stdout.flush()
    await asyncio.Event().wait()


def stop(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    if "stops" in sys.argv:
        quota.settle = stop  # type: ignore[assignment]
    quota_book.LEASE_S = float(sys.argv[3])  # the store's half runs where the report is made
    asyncio.run(main(*sys.argv[1:3]))

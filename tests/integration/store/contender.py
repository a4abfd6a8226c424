"""One gateway's worth of claims in a process of its own: ``python -m tests.integration.store.contender URL HOLDER DO``.

``race:ROUNDS`` claims ``load:0``, ``load:1``, … once each; ``steward:TERMS`` takes the claim ``steward`` so often, and
releases it; ``hold:TTL_S`` takes it and waits to be killed. Prints one JSON object per claim that was answered.
"""

import asyncio
import json
import sys

from cortex.gateway.ports import Claim
from cortex.gateway.store.claim import StoredClaims
from cortex.gateway.store.database import Database
from cortex.gateway.store_url import parse_store_url
from cortex.kit.clock import SystemClock


def say(claim: Claim) -> None:
    print(json.dumps({"name": claim.name, "is_mine": claim.is_mine, "number": claim.number, "holder": claim.holder}))
    sys.stdout.flush()


async def race(claims: StoredClaims, rounds: int) -> None:
    for number in range(rounds):
        say(await claims.claim(f"load:{number}", "somewhere", 3600))


async def govern(claims: StoredClaims, terms: int) -> None:
    while terms:
        claim = await claims.claim("steward", "", 3600)
        if claim.is_mine:
            say(claim)
            await claims.release(claim)
            terms -= 1


async def hold(claims: StoredClaims, ttl_s: float) -> None:
    say(await claims.claim("steward", "", ttl_s))
    await asyncio.Event().wait()


async def main(url: str, holder: str, what: str) -> None:
    database = Database(parse_store_url(url), SystemClock(), who=holder, deadline_s=30.0)
    claims, (kind, _, much) = StoredClaims(database, holder), what.partition(":")
    if kind == "race":
        await race(claims, int(much))
    elif kind == "steward":
        await govern(claims, int(much))
    else:
        await hold(claims, float(much))
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

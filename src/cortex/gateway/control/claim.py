"""Lets one gateway at a time load a model that nobody has yet: whoever claims it in the store first.

Stands before the executor. A load that is won goes on, its claim is renewed meanwhile, released when it has failed, and
kept for a moment when it has ended well, until the others have heard of it. One that is lost is deferred to whoever
loads. Where the store cannot be asked, loads go on unclaimed: the neurons decide, and at worst one replica is too many.
"""

import asyncio
import logging

from cortex.contract.error import CortexError, StoreUnavailable
from cortex.fleet.effect import Slow, StartLoad
from cortex.fleet.event import Event, LoadDeferred, LoadSucceeded
from cortex.gateway.control.executor import Sleep
from cortex.gateway.control.loop import EffectRunner
from cortex.gateway.control.report import Post
from cortex.gateway.ports import Claim, Claims
from cortex.kit.cause import NOTHING, work_for
from cortex.kit.task import TaskOwner

TTL_S = 30.0
"""A load whose gateway has died is another's after this."""
RENEW_S = 8.0
LINGER_S = 10.0
"""How long the others may need to hear of a load that has ended well."""
SOONEST_S, LATEST_S = 0.25, 2.0
"""Within which time a deferred load is looked at again; news of the fleet come sooner."""

log = logging.getLogger(__name__)


class ClaimedLoads:
    """Carries out effects by another runner, first loads only with a claim."""

    def __init__(self, runner: EffectRunner, claims: Claims, tasks: TaskOwner, *, sleep: Sleep = asyncio.sleep) -> None:
        self._runner = runner
        self._claims = claims
        self._tasks = tasks
        self._sleep = sleep

    def carry_out(self, effect: Slow, post: Post) -> None:
        """See ``loop.EffectRunner``."""
        if isinstance(effect, StartLoad) and effect.is_first:
            self._tasks.start(self._load(effect, post), f"claimed load {effect.request.model_id}@{effect.node}")
        else:
            self._runner.carry_out(effect, post)

    async def _load(self, effect: StartLoad, post: Post) -> None:
        claim = await self._claim(effect)
        if claim is not None and not claim.is_mine:
            deferred = _deferred(effect, claim)
            work_for(NOTHING)  # what follows is for others
            post(deferred)
            return
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def told(event: Event) -> None:
            post(event)
            if not ended.done():
                ended.set_result(isinstance(event, LoadSucceeded))

        self._runner.carry_out(effect, told)
        if claim is not None:
            await self._hold(claim, ended)

    async def _claim(self, effect: StartLoad) -> Claim | None:
        """Return the claim, this gateway's or another's; None when nobody can say."""
        try:
            return await self._claims.claim(f"load:{effect.request.model_id}", effect.node, TTL_S)
        except StoreUnavailable as exc:
            log.info("loading %s on %s without a claim: %s", effect.request.model_id, effect.node, exc.message)
        except Exception:  # a defect of ours: the dispatcher must not wait for an event that never comes
            log.exception("claiming %s", effect.request.model_id)
        return None

    async def _hold(self, claim: Claim, ended: "asyncio.Future[bool]") -> None:
        """Keep the claim until its load has ended, well or not."""
        renewing = self._tasks.start(self._renew(claim), f"renew {claim.name}")
        try:
            is_loaded = await ended
        finally:
            renewing.cancel()
        try:
            if is_loaded:
                await self._claims.renew(claim, LINGER_S)
            else:
                await self._claims.release(claim)
        except CortexError as exc:
            log.debug("%s ends by itself: %s", claim.name, exc.message)

    async def _renew(self, claim: Claim) -> None:
        while True:
            await self._sleep(RENEW_S)
            try:
                if not await self._claims.renew(claim, TTL_S):
                    log.info("%s is another's by now; the load goes on", claim.name)
                    return
            except CortexError as exc:
                log.debug("%s was not renewed: %s", claim.name, exc.message)


def _deferred(effect: StartLoad, claim: Claim) -> LoadDeferred:
    log.info("%s is loaded by gateway %s, on %s", effect.request.model_id, claim.holder, claim.target)
    return LoadDeferred(
        node=effect.node,
        model=effect.request.model_id,
        target=claim.target,
        holder=claim.holder,
        retry_in_s=min(LATEST_S, max(SOONEST_S, claim.expires_in_s)),
    )

"""Finds out whether this gateway is the steward: the one that preloads, keeps replica counts and defrags.

With a store it is whoever holds the claim ``steward`` there; its number fences a former one off at the neurons. A
gateway that cannot renew steps down by its own clock, before its claim can be another's. Without a store it is who is
configured so.
"""

import asyncio
import logging

from cortex.contract.error import CortexError
from cortex.fleet.event import StewardChanged
from cortex.gateway.control.executor import Sleep
from cortex.gateway.control.report import Post
from cortex.gateway.ports import Claim, Claims
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

NAME = "steward"
TTL_S = 15.0
TRUST_S = TTL_S * 2 / 3
"""How long after it was asked for, a claim is acted on."""
STEP_S = 2.0

log = logging.getLogger(__name__)


class StewardKeeper:
    """Keeps the claim ``steward``, or tries to get it, as long as :meth:`run` runs."""

    def __init__(self, claims: Claims, post: Post, clock: Clock, *, sleep: Sleep = asyncio.sleep) -> None:
        self._claims = claims
        self._post = post
        self._clock = clock
        self._sleep = sleep
        self._claim: Claim | None = None
        self._asked_s = 0.0

    @property
    def is_steward(self) -> bool:
        """Whether this gateway holds the claim."""
        return self._claim is not None

    async def run(self) -> None:
        """Try again and again, until cancelled."""
        while True:
            try:
                await self.step()
            except Exception:  # a defect of ours must not leave the fleet without a steward
                log.exception("keeping the claim of the steward")
            await self._sleep(STEP_S)

    async def step(self) -> None:
        """Renew the claim, or try to take it."""
        asked_s = self._clock.now_s()
        try:
            is_held = await (self._take() if self._claim is None else self._claims.renew(self._claim, TTL_S))
        except CortexError as exc:
            if self._claim is not None and self._clock.now_s() - self._asked_s >= TRUST_S:
                self._step_down(exc.message)
            return
        if is_held:
            self._asked_s = asked_s
        elif self._claim is not None:
            self._step_down("the claim was not renewed in time")

    async def stop(self) -> None:
        """Give the claim back, so that another need not wait for its end."""
        claim, self._claim = self._claim, None
        if claim is None:
            return
        try:
            await self._claims.release(claim)
        except CortexError as exc:
            log.debug("the claim of the steward ends by itself: %s", exc.message)

    async def _take(self) -> bool:
        claim = await self._claims.claim(NAME, "", TTL_S)
        if claim.is_mine:
            self._claim = claim
            log.info("this gateway is the steward, number %d", claim.number)
            self._post(StewardChanged(is_steward=True, number=claim.number))
        return claim.is_mine

    def _step_down(self, why: str) -> None:
        self._claim = None
        log.warning("this gateway is not the steward any more: %s", why)
        self._post(StewardChanged(is_steward=False))


class Candidate:
    """This gateway as one that is to be the steward: by the store's claim, or because the settings say so.

    It resigns when another process is about to take its place, since without a store nothing else keeps two of them
    apart, and stands again when nothing has come of that.
    """

    def __init__(self, steward: StewardKeeper | StewardChanged, post: Post, tasks: TaskOwner) -> None:
        self._steward = steward
        self._post = post
        self._tasks = tasks
        self._standing: asyncio.Task[None] | None = None
        self._has_resigned = False

    @property
    def is_steward(self) -> bool:
        """Whether this gateway preloads, keeps replica counts and defrags."""
        return self._steward.is_steward and not self._has_resigned

    def stand(self) -> None:
        """Be the steward, or try to be."""
        self._has_resigned = False
        if isinstance(self._steward, StewardKeeper):
            self._standing = self._tasks.start(self._steward.run(), "steward")
        else:
            self._post(self._steward)

    async def resign(self) -> None:
        """Be it no more, and do not try to be."""
        self._has_resigned = True
        self._post(StewardChanged(is_steward=False))
        await self.stop()

    async def stop(self) -> None:
        """Give back what is held; the fleet is not told."""
        standing, self._standing = self._standing, None
        if standing is not None:
            standing.cancel()
            await asyncio.wait((standing,))
        if isinstance(self._steward, StewardKeeper):
            await self._steward.stop()

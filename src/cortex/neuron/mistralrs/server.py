"""Speaks to one mistral.rs server that several models share (``shared_server.SharedApi``).

It works around what v0.9.2 to v0.9.5 do wrong (read and measured 2026-10):

* a reload of a model that is not unloaded marks it as being reloaded for ever, and it can never be loaded again: reload
  is sent only right after the server itself said ``unloaded``. A model that somebody else has marked so serves as long
  as it is loaded; after that only a restart of the server brings it back (``broken``);
* a reload answers when the model is loaded, minutes later, and goes on when nobody waits for its answer any more;
* a request that names an unloaded model loads it, and whoever asks meanwhile is refused: a load joins that one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from cortex.contract.error import UpstreamError
from cortex.contract.instance import InstanceError
from cortex.kit.http_client import HttpClient, HttpReply
from cortex.neuron.harness.interface import Activity
from cortex.neuron.mistralrs.wire import Info, Listing, Verdict, activity_in, info_in, listing_in, verdict_of
from cortex.neuron.process.last_words import last_words
from cortex.neuron.shared_server import ModelState
from cortex.residency.backoff import Backoff

log = logging.getLogger(__name__)

ASK_DEADLINE_S = 5.0
UNLOAD_DEADLINE_S = 60.0
RELOAD_DEADLINE_S = 24 * 3600.0
"""The life of the instance has a deadline that goes by size and progress; this one only ends what nobody waits for."""
MIXED_LOOKS = 5
"""Looks in a row that find a model in two states before that counts as the defect and not as a change under way."""
JOIN_POLL = Backoff(first_s=0.05, limit_s=2.0, factor=1.5)


class MistralRsServer:
    """One server at a base URL. ``journal`` gives the last lines of its log."""

    def __init__(self, url: str, http: HttpClient, journal: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        self.url = url
        self.broken: set[str] = set()
        """Models that this server process cannot load again."""
        self._http = http
        self._journal = journal
        self._mixed_looks: dict[str, int] = {}

    def begin_anew(self) -> None:
        """Forget what was wrong with a server process that is gone."""
        self.broken.clear()
        self._mixed_looks.clear()

    async def listing(self) -> Listing | None:
        """Return its models; None when it does not answer. One that is broken and loaded is loaded, else unloaded."""
        reply = await self._ask("GET", "/v1/models")
        listing = listing_in(reply.body) if reply is not None and reply.status == 200 else None
        if listing is None:
            return None
        self._note_mixed(listing)
        repaired: dict[str, ModelState] = {
            model: "loaded" if model in listing.loaded else "unloaded" for model in self.broken & set(listing.states)
        }
        return listing._replace(states={**listing.states, **repaired})

    async def states(self) -> Mapping[str, ModelState] | None:
        listing = await self.listing()
        return None if listing is None else listing.states

    async def info(self) -> Info | None:
        """Return what the server says of itself."""
        reply = await self._ask("GET", "/v1/system/info")
        return info_in(reply.body) if reply is not None and reply.status == 200 else None

    async def is_healthy(self) -> bool:
        reply = await self._ask("GET", "/health")
        return reply is not None and reply.status == 200

    async def load(self, name: str) -> InstanceError | None:
        """Reload a model if the server says that it is unloaded; else wait for what is under way, or find it loaded."""
        listing = await self.listing()
        if listing is None:
            return InstanceError(code="server_silent", message=f"the server at {self.url} does not answer")
        state = listing.states.get(name)
        if state is None:
            return InstanceError(code="not_offered", message=f"the server at {self.url} has no model '{name}'")
        if name in self.broken and state != "loaded":
            return self._broken(name)
        if state == "loaded":
            return None
        verdict = await self._reload(name) if state == "unloaded" else Verdict("under_way")
        return await self._judged(name, verdict)

    async def unload(self, name: str) -> None:
        listing = await self.listing()
        if listing is None or name not in listing.loaded:
            return
        if name in listing.mixed:  # from now on it would only be listed as being reloaded, for ever
            self._note_broken(name)
        reply = await self._ask("POST", "/v1/models/unload", name, deadline_s=UNLOAD_DEADLINE_S)
        if reply is not None:
            verdict = verdict_of(reply.status, reply.body, "unloaded")
            if verdict.outcome != "done":
                log.warning("%s: the server at %s did not unload it: %s", name, self.url, _words(verdict))

    async def activity(self, name: str) -> Activity | None:
        reply = await self._ask("GET", "/metrics")
        return activity_in(reply.body.decode(errors="replace"), name) if reply and reply.status == 200 else None

    async def counts(self) -> bool | None:
        """Tell whether it counts its requests, which can be switched off; None when it does not answer now."""
        reply = await self._ask("GET", "/metrics")
        if reply is None:
            return None
        return reply.status == 200 and activity_in(reply.body.decode(errors="replace")) is not None

    async def last_words(self) -> tuple[str, ...]:
        return await self._journal()

    async def _reload(self, name: str) -> Verdict:
        try:
            reply = await self._send("POST", "/v1/models/reload", name, RELOAD_DEADLINE_S)
        except UpstreamError as error:
            return Verdict("under_way", error.message)  # it goes on without us, or the server is gone: looking tells
        return verdict_of(reply.status, reply.body, "loaded")

    async def _judged(self, name: str, verdict: Verdict) -> InstanceError | None:
        if verdict.outcome == "done":
            return None
        if verdict.outcome in ("under_way", "unknown"):
            # Unknown: somebody else's request has loaded it in between, and the call has marked it for ever.
            return await self._joined(name)
        if verdict.outcome == "not_possible":
            words = f"the server at {self.url} cannot load again what it has unloaded: {_words(verdict)}"
            return InstanceError(code="engine_failed", message=words)
        return await self._failure(name, verdict.words)

    async def _joined(self, name: str) -> InstanceError | None:
        """Wait until a load that somebody else began is over."""
        looks = 0
        while True:
            states = await self.states()
            state = "loading" if states is None else states.get(name, "unloaded")
            if state == "loaded":
                return None
            if name in self.broken:
                return self._broken(name)
            if state == "unloaded":
                return await self._failure(name, "")
            await asyncio.sleep(JOIN_POLL.delay_s(looks))
            looks += 1

    async def _failure(self, name: str, words: str) -> InstanceError:
        """Return why a load failed: in the answer's words, else in those of the server's log."""
        lines = await self._journal()
        why = last_words((words,) if words else lines)
        cause = words or why.cause or "it does not say why; its log may"
        return InstanceError(
            code="out_of_memory" if why.is_out_of_memory else "engine_failed",
            message=f"the server at {self.url} did not load {name}: {cause}",
            log_tail=lines,
        )

    def _broken(self, name: str) -> InstanceError:
        words = (
            f"the server at {self.url} takes {name} for being loaded, for ever: a defect of mistral.rs. "
            "Restart the harness"
        )
        return InstanceError(code="restart_needed", message=words)

    def _note_mixed(self, listing: Listing) -> None:
        self._mixed_looks = {model: self._mixed_looks.get(model, 0) + 1 for model in listing.mixed}
        for model, looks in self._mixed_looks.items():
            if looks >= MIXED_LOOKS:
                self._note_broken(model)

    def _note_broken(self, name: str) -> None:
        if name not in self.broken:
            log.warning("%s: the server at %s cannot load it again once it is unloaded", name, self.url)
            self.broken.add(name)

    async def _ask(
        self, method: str, path: str, model: str | None = None, *, deadline_s: float = ASK_DEADLINE_S
    ) -> HttpReply | None:
        """Return the answer; None when there is none in time."""
        try:
            return await self._send(method, path, model, deadline_s)
        except UpstreamError:
            return None

    async def _send(self, method: str, path: str, model: str | None, deadline_s: float) -> HttpReply:
        body = None if model is None else msgspec.json.encode({"model_id": model})
        headers = None if body is None else {"content-type": "application/json"}
        return await self._http.request(method, self.url + path, deadline_s=deadline_s, body=body, headers=headers)


def _words(verdict: Verdict) -> str:
    return verdict.words or verdict.outcome.replace("_", " ")

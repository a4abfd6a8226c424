"""Servers that speak OpenAI's protocol and run by themselves: listed and relayed to, never started or stopped.

Their models are those named in ``models``, else those of their ``/v1/models``; they count as loaded while a server that
has them answers. Of several with one model the first that answers is named; the others stand by. They need no device as
far as this node knows.
"""

import asyncio
import logging
from pathlib import Path
from urllib.parse import urlsplit

from cortex.contract.error import ConfigError, UpstreamError
from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.interface import (
    Capabilities,
    Engine,
    EngineExit,
    Launch,
    ListedModel,
    Prepared,
    Site,
)
from cortex.neuron.key_file import KeyFile
from cortex.neuron.named_question import MODELS_PATH, listed_models
from cortex.neuron.refusal import NotManaged
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Record

log = logging.getLogger(__name__)

DEADLINE_S = 5.0
LONGEST_ID = 1024
_KEY_REFUSED = (401, 403)


class OpenAiHarness:
    """One entry of kind ``openai``."""

    capabilities = Capabilities(process_model="foreign", is_fenced=False, reports_in_flight=False)
    device_kinds: frozenset[DeviceKind] = frozenset()

    def __init__(self, entry: HarnessEntry, site: Site) -> None:
        """Raises: ConfigError when the entry has no endpoint, or a key that cannot be read."""
        where = f"harnesses: '{entry.name}' of kind {entry.kind}"
        urls = (*((entry.endpoint,) if entry.endpoint is not None else ()), *entry.endpoints)
        if not urls:
            raise ConfigError(f"{where} needs `endpoint`, a base URL, or `endpoints`, several")
        self.name = entry.name
        self.kind = entry.kind
        self._models = entry.models
        self._key = None if entry.key_file is None else KeyFile(Path(entry.key_file), where)
        bases = dict.fromkeys(url.removesuffix("/v1") for url in urls)
        self._servers = tuple(_Server(url, entry.name, site.http) for url in bases)

    async def probe(self) -> HarnessDetail:
        return HarnessDetail(name=self.name, kind=self.kind, usable=True)

    async def listed(self) -> tuple[ListedModel, ...] | None:
        key = None if self._key is None else self._key.read()
        await asyncio.gather(*(server.ask(self._models, key) for server in self._servers))
        if not any(server.is_up for server in self._servers):
            return None
        # Those that answer come first: of two with one model the first counts.
        in_order = sorted(self._servers, key=lambda server: not server.is_up)
        found: dict[str, ListedModel] = {}
        for server in in_order:
            for name, context in server.models.items():
                listed = ListedModel(
                    id=name,
                    url=server.url,
                    engine_model=name,
                    credential=key,
                    context=context,
                    is_silent=not server.is_up,
                )
                found.setdefault(name, listed)
        return tuple(found.values())

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        hosts = " or ".join(urlsplit(server.url).netloc for server in self._servers)
        raise NotManaged(
            f"the server at {hosts} decides itself what it serves, and '{request.model_id}' is not in its list"
        )

    async def start(self, launch: Launch) -> Engine | EngineExit:
        raise NotManaged

    async def recover(self, record: Record, log: Path) -> Engine | None:
        return None


class _Server:
    """One of the entry's servers: whether it answers, and what it listed when it last did."""

    def __init__(self, url: str, entry: str, http: HttpClient) -> None:
        self.url = url
        self.is_up = False
        self.models: dict[str, int | None] = {}
        """Each with its context, where the server says it."""
        self._entry = entry
        self._http = http
        self._last_trouble: str | None = None

    async def ask(self, named: tuple[str, ...] | None, key: str | None) -> None:
        """Find out what it serves now."""
        found = await self._find(named, key)
        self.is_up = not isinstance(found, str)
        if not isinstance(found, str):
            self.models = found
        trouble = found if isinstance(found, str) else None
        if trouble is not None and trouble != self._last_trouble:
            log.warning("harness %s: %s: %s", self._entry, self.url, trouble)
        self._last_trouble = trouble

    async def _find(self, named: tuple[str, ...] | None, key: str | None) -> dict[str, int | None] | str:
        """Return what it serves, or why it counts as silent."""
        headers = None if key is None else {"authorization": f"Bearer {key}"}
        try:
            reply = await self._http.request("GET", self.url + MODELS_PATH, deadline_s=DEADLINE_S, headers=headers)
        except UpstreamError as error:
            return error.message
        if key is not None and reply.status in _KEY_REFUSED:
            return f"it refuses the key of `key_file` ({reply.status})"
        if named is not None:
            # Named models need only a server that answers at all: not every one has a list.
            known = listed_models(reply.body) or {}
            return {name: known.get(name) for name in named} if reply.status < 500 else f"it answers {reply.status}"
        found = listed_models(reply.body) if reply.status == 200 else None
        if found is None:
            return f"it answers {reply.status} to {MODELS_PATH}, and no list"
        return {name: context for name, context in found.items() if _can_be_asked_for(name)}


def _can_be_asked_for(name: str) -> bool:
    """Tell whether an id can stand in a path and in a lease."""
    return 0 < len(name) <= LONGEST_ID and name.isprintable() and name == name.strip()

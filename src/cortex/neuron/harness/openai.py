"""A server that speaks OpenAI's protocol and runs by itself: it is listed and relayed to, never started or stopped.

Its models are those named in ``models``, else those of its ``/v1/models``; they count as loaded while it answers. It
needs no device as far as this node knows.
"""

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cortex.contract.error import ConfigError, UpstreamError
from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
from cortex.neuron.harness.interface import (
    Capabilities,
    Engine,
    EngineExit,
    Launch,
    ListedModel,
    Prepared,
    Site,
)
from cortex.neuron.refusal import NotManaged
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Record

DEADLINE_S = 5.0


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    """``{"object": "list", "data": [{"id": …}, …]}``, as every such server answers ``GET /v1/models``."""

    data: list[_Model]


class OpenAiHarness:
    """One entry of kind ``openai``."""

    capabilities = Capabilities(process_model="foreign", is_fenced=False, reports_in_flight=False)
    device_kinds: frozenset[DeviceKind] = frozenset()

    def __init__(self, entry: HarnessEntry, site: Site) -> None:
        """Raises: ConfigError when the entry has no endpoint."""
        if entry.endpoint is None:
            raise ConfigError(f"harnesses: '{entry.name}' of kind {entry.kind} needs `endpoint`, a base URL")
        self.name = entry.name
        self.kind = entry.kind
        self._models = entry.models
        self._http = site.http
        self._url = entry.endpoint.removesuffix("/v1")

    async def probe(self) -> HarnessDetail:
        return HarnessDetail(name=self.name, kind=self.kind, usable=True)

    async def listed(self) -> tuple[ListedModel, ...] | None:
        try:
            reply = await self._http.request("GET", self._url + "/v1/models", deadline_s=DEADLINE_S)
        except UpstreamError:
            return None
        if self._models is not None:
            # Named models need only a server that answers at all: not every one has a list.
            ids: tuple[str, ...] | None = self._models if reply.status < 500 else None
        else:
            ids = _ids(reply.body) if reply.status == 200 else None
        if ids is None:
            return None
        return tuple(ListedModel(id=name, url=self._url, engine_model=name) for name in dict.fromkeys(ids))

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        host = urlsplit(self._url).netloc
        raise NotManaged(
            f"the server at {host} decides itself what it serves, and '{request.model_id}' is not in its list"
        )

    async def start(self, launch: Launch) -> Engine | EngineExit:
        raise NotManaged

    async def recover(self, record: Record, log: Path) -> Engine | None:
        return None


def _ids(body: bytes) -> tuple[str, ...] | None:
    try:
        return tuple(model.id for model in msgspec.json.decode(body, type=_Models).data)
    except msgspec.MsgspecError:
        return None

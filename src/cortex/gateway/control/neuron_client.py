"""The neuron's HTTP API as typed calls of one node. Knows paths, deadlines and shapes; decides and retries nothing.

An answer that is not by the contract is ``UpstreamBroken``; a neuron that says no is ``NeuronRefused`` with its code.
"""

from typing import TypeVar
from urllib.parse import quote

import msgspec

from cortex.contract.error import UpstreamBroken, UpstreamError
from cortex.contract.instance import (
    EVENT_HEADER,
    START_ID_HEADER,
    EndpointAnswer,
    InstanceReport,
    LoadAnswer,
    LoadRequest,
    NeuronErrorAnswer,
    PinAnswer,
    PinRequest,
    UnloadAnswer,
    UnloadRequest,
)
from cortex.contract.node import Discovery, Health, MaintenanceAnswer, MaintenanceRequest, RestartAnswer, RestartRequest
from cortex.kit.http_client import HttpClient, HttpReply

T = TypeVar("T")

ASK_DEADLINE_S = 5.0
LOAD_DEADLINE_S = 30.0
"""A neuron answers a load at once; one of another make may hold the call until the model is loaded, which following
``GET /models`` covers as well."""
UNLOAD_DEADLINE_S = 330.0
"""An unload waits for the drain (five minutes in the neuron's defaults) and for the memory."""


class NeuronRefused(UpstreamError):
    """The neuron refused the call."""

    code = "neuron_refused"

    def __init__(self, message: str, *, status: int, neuron_code: str, **details: object) -> None:
        super().__init__(message, **details)
        self.status = status
        self.neuron_code = neuron_code


class ModelsAnswer(msgspec.Struct, frozen=True):
    """``GET /models`` with the version that its headers carry; ``event`` 0 when the neuron sends none."""

    models: tuple[InstanceReport, ...]
    start_id: str = ""
    event: int = 0


class NeuronClient:
    """Speaks to the neuron of one node."""

    def __init__(
        self,
        http: HttpClient,
        endpoint: str,
        *,
        gateway_id: str | None = None,
        token: str | None = None,
        ask_s: float = ASK_DEADLINE_S,
    ) -> None:
        self._http = http
        self._base = endpoint.rstrip("/")
        self._ask_s = ask_s
        self._holder = f"?gateway={quote(gateway_id, safe='')}" if gateway_id is not None else ""
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def discovery(self) -> Discovery:
        """Ask what the host is made of."""
        return _decoded(await self._ask("/discovery"), Discovery)

    async def health(self) -> Health:
        """Ask how the host is now."""
        return _decoded(await self._ask("/health"), Health)

    async def models(self) -> ModelsAnswer:
        """Ask which models there are, and in which state."""
        reply = await self._ask("/models")
        event = reply.headers.get(EVENT_HEADER, "")
        return ModelsAnswer(
            models=_decoded(reply, tuple[InstanceReport, ...]),
            start_id=reply.headers.get(START_ID_HEADER, ""),
            event=int(event) if event.isascii() and event.isdigit() else 0,
        )

    async def endpoint(self, model: str) -> EndpointAnswer:
        """Ask where a loaded model is reached; makes a gateway that names itself a holder of it."""
        return _decoded(await self._ask(f"/models/{quote(model, safe='')}/endpoint{self._holder}"), EndpointAnswer)

    async def load(self, request: LoadRequest) -> LoadAnswer:
        """Ask to load a model."""
        return _decoded(await self._tell("/models/load", request, LOAD_DEADLINE_S), LoadAnswer)

    async def unload(self, request: UnloadRequest) -> UnloadAnswer:
        """Ask to unload a model."""
        return _decoded(await self._tell("/models/unload", request, UNLOAD_DEADLINE_S), UnloadAnswer)

    async def pin(self, request: PinRequest) -> PinAnswer:
        """Ask to pin a model, or not to any more."""
        return _decoded(await self._tell("/models/pin", request, self._ask_s), PinAnswer)

    async def restart(self, harness: str, request: RestartRequest) -> RestartAnswer:
        """Ask to restart a harness's engine; everything of it is drained and unloaded first."""
        path = f"/harnesses/{quote(harness, safe='')}/restart"
        return _decoded(await self._tell(path, request, UNLOAD_DEADLINE_S), RestartAnswer)

    async def maintain(self, request: MaintenanceRequest) -> MaintenanceAnswer:
        """Ask to load nothing new there, or to do so again."""
        return _decoded(await self._tell("/maintenance", request, self._ask_s), MaintenanceAnswer)

    async def _ask(self, path: str) -> HttpReply:
        return await self._call("GET", path, None, self._ask_s)

    async def _tell(self, path: str, body: msgspec.Struct, deadline_s: float) -> HttpReply:
        return await self._call("POST", path, msgspec.json.encode(body), deadline_s)

    async def _call(self, method: str, path: str, body: bytes | None, deadline_s: float) -> HttpReply:
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        reply = await self._http.request(method, self._base + path, body=body, headers=headers, deadline_s=deadline_s)
        if not 200 <= reply.status < 300:
            raise _refusal(method, path, reply)
        return reply


def _decoded(reply: HttpReply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.MsgspecError as exc:
        raise UpstreamBroken(f"the neuron's answer is not by the contract: {exc}") from exc


def _refusal(method: str, path: str, reply: HttpReply) -> NeuronRefused:
    try:
        said = msgspec.json.decode(reply.body, type=NeuronErrorAnswer).error
    except msgspec.MsgspecError:
        text = reply.body[:200].decode(errors="replace").strip()
        message = f"{method} {path} was answered {reply.status}: {text or 'no reason given'}"
        return NeuronRefused(message, status=reply.status, neuron_code=f"http_{reply.status}")
    details = {key: value for key, value in said.details.items() if key not in ("message", "status", "neuron_code")}
    return NeuronRefused(said.message, status=reply.status, neuron_code=said.code, **details)

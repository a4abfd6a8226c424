"""The neuron's HTTP API as typed calls of one node. Knows paths, deadlines and shapes; decides and retries nothing.

An answer that is not by the contract is ``UpstreamBroken``; a neuron that says no is ``NeuronRefused`` with its code.
"""

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar
from urllib.parse import quote

import msgspec

from cortex.contract.error import UpstreamBroken, UpstreamError
from cortex.contract.event import NodeChange
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
from cortex.contract.lease import LeaseAnswer, LeasePost
from cortex.contract.node import Discovery, Health, MaintenanceAnswer, MaintenanceRequest, RestartAnswer, RestartRequest
from cortex.kit.cause import NOTHING, cause_of_now
from cortex.kit.http_client import HttpClient, HttpReply
from cortex.kit.json_fault import NOT_JSON

T = TypeVar("T")

ASK_DEADLINE_S = 5.0
LOAD_DEADLINE_S = 30.0
"""A neuron answers a load at once; one of another make may hold the call until the model is loaded, which following
``GET /models`` covers as well."""
DRAIN_S = 300.0
"""How long a drain takes at the most, where the neuron does not say it."""
AFTER_DRAIN_S = 60.0
"""Until the memory is back, and a server was restarted."""
MAX_LOG_LINE_BYTES = 1 << 20
"""A neuron cuts lines long before."""
SILENCE_S = 40.0
"""A neuron says something on its event stream every 15 s; one that says nothing for so long is gone, or cut off."""


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


class _LogAnswer(msgspec.Struct, frozen=True):
    """``GET /models/{id}/logs``."""

    lines: tuple[str, ...]


class NodeMessage(msgspec.Struct, frozen=True):
    """One message of the event stream. With its ``id`` a reader that comes back gets what it missed."""

    id: str
    change: NodeChange
    is_snapshot: bool


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
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        """``tls`` gives the context for an ``https`` endpoint, None: what the system trusts."""
        self._http = http
        self._tls = tls
        self._base = endpoint.rstrip("/")
        self._ask_s = ask_s
        self.gateway_id = gateway_id
        self._evict_grace_s = 0.0
        self._drain_s = DRAIN_S
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def discovery(self) -> Discovery:
        """Ask what the host is made of; how long it may take over things is remembered for later calls."""
        discovery = _decoded(await self._ask("/discovery"), Discovery)
        self._evict_grace_s = discovery.evict_grace_s or 0.0
        self._drain_s = discovery.drain_timeout_s or DRAIN_S
        return discovery

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
        holder = f"?gateway={quote(self.gateway_id, safe='')}" if self.gateway_id is not None else ""
        return _decoded(await self._ask(f"/models/{quote(model, safe='')}/endpoint{holder}"), EndpointAnswer)

    async def load(self, request: LoadRequest) -> LoadAnswer:
        """Ask to load a model; with victims the answer comes when it is decided whether they go."""
        deadline_s = LOAD_DEADLINE_S + (self._evict_grace_s if request.evict else 0.0)
        return _decoded(await self._tell("/models/load", request, deadline_s), LoadAnswer)

    async def unload(self, request: UnloadRequest) -> UnloadAnswer:
        """Ask to unload a model; unless that is waited for, the answer comes at once."""
        deadline_s = self._drain_s + AFTER_DRAIN_S if request.wait else max(self._ask_s, ASK_DEADLINE_S)
        return _decoded(await self._tell("/models/unload", request, deadline_s), UnloadAnswer)

    async def pin(self, request: PinRequest) -> PinAnswer:
        """Ask to pin a model, or not to any more."""
        return _decoded(await self._tell("/models/pin", request, self._ask_s), PinAnswer)

    async def restart(self, harness: str, request: RestartRequest) -> RestartAnswer:
        """Ask to restart a harness's engine; everything of it is drained and unloaded first."""
        path = f"/harnesses/{quote(harness, safe='')}/restart"
        return _decoded(await self._tell(path, request, self._drain_s + AFTER_DRAIN_S), RestartAnswer)

    async def maintain(self, request: MaintenanceRequest) -> MaintenanceAnswer:
        """Ask to load nothing new there, or to do so again."""
        return _decoded(await self._tell("/maintenance", request, self._ask_s), MaintenanceAnswer)

    async def leases(self, post: LeasePost) -> LeaseAnswer:
        """Report what is used, and hear what has changed."""
        return _decoded(await self._tell("/leases", post, self._ask_s), LeaseAnswer)

    async def events(self, last_id: str | None = None) -> AsyncGenerator[NodeMessage]:
        """Yield every change as it is told, after the one with ``last_id`` where that is kept, else a snapshot first.

        Ends when the neuron ends it. Close it when it is left before (``aclosing``).
        """
        headers = self._headers if last_id is None else {**self._headers, "Last-Event-ID": last_id}
        url = f"{self._base}/events"
        async with self._http.stream(
            url, headers=headers, deadline_s=self._ask_s, silence_s=SILENCE_S, tls=self._tls()
        ) as stream:
            if stream.status != 200:
                raise _refusal("GET", "/events", await stream.whole())
            async with aclosing(stream.lines()) as lines:
                fields: dict[bytes, bytes] = {}
                async for line in lines:
                    if line:
                        name, _, value = line.partition(b":")
                        fields[name] = value.removeprefix(b" ")
                    elif (message := _message(fields)) is not None:
                        fields = {}
                        yield message
                    else:
                        fields = {}

    async def log_tail(self, model: str, lines: int) -> tuple[str, ...]:
        """Ask for the last lines of an engine's log."""
        return _decoded(await self._ask(f"/models/{quote(model, safe='')}/logs?lines={lines}"), _LogAnswer).lines

    async def log_follow(self, model: str, lines: int) -> AsyncGenerator[list[bytes]]:
        """Yield them and further ones as they come, some at a time, until the model is unloaded or has failed.

        Nobody knows how long an engine is silent. Close it when it is left before (``aclosing``).
        """
        path = f"/models/{quote(model, safe='')}/logs?lines={lines}&follow=true"
        url = self._base + path
        async with self._http.stream(
            url, headers=self._headers, deadline_s=self._ask_s, silence_s=None, tls=self._tls()
        ) as stream:
            if stream.status != 200:
                raise _refusal("GET", path, await stream.whole())
            async with aclosing(stream.lines_at_once(MAX_LOG_LINE_BYTES)) as found:
                async for some in found:
                    yield some

    async def _ask(self, path: str) -> HttpReply:
        return await self._call("GET", path, None, self._ask_s)

    async def _tell(self, path: str, body: msgspec.Struct, deadline_s: float) -> HttpReply:
        return await self._call("POST", path, msgspec.json.encode(body), deadline_s)

    async def _call(self, method: str, path: str, body: bytes | None, deadline_s: float) -> HttpReply:
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        cause = cause_of_now()
        if cause is not NOTHING:
            headers = {**headers, **cause.headers()}
        reply = await self._http.request(
            method, self._base + path, body=body, headers=headers, deadline_s=deadline_s, tls=self._tls()
        )
        if not 200 <= reply.status < 300:
            raise _refusal(method, path, reply)
        return reply


def _message(fields: dict[bytes, bytes]) -> NodeMessage | None:
    """Return what the lines of one message say; None for a comment, and for kinds that are not known here."""
    kind, data = fields.get(b"event"), fields.get(b"data")
    if data is None or kind not in (b"change", b"snapshot"):
        return None
    return NodeMessage(fields.get(b"id", b"").decode(), _parsed(data, NodeChange), kind == b"snapshot")


def _decoded(reply: HttpReply, kind: type[T]) -> T:
    return _parsed(reply.body, kind)


def _parsed(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except NOT_JSON as exc:
        raise UpstreamBroken(f"the neuron's answer is not by the contract: {exc}") from exc


def _refusal(method: str, path: str, reply: HttpReply) -> NeuronRefused:
    try:
        said = msgspec.json.decode(reply.body, type=NeuronErrorAnswer).error
    except NOT_JSON:
        text = reply.body[:200].decode(errors="replace").strip()
        message = f"{method} {path} was answered {reply.status}: {text or 'no reason given'}"
        return NeuronRefused(message, status=reply.status, neuron_code=f"http_{reply.status}")
    details = {key: value for key, value in said.details.items() if key not in ("message", "status", "neuron_code")}
    return NeuronRefused(said.message, status=reply.status, neuron_code=said.code, **details)

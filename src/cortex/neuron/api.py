"""The neuron's HTTP API on port 9090: paths, bodies and headers, and the one place where errors become answers.

Until it is decided which engines go on, every call but ``/livez`` is answered 503 ``starting``: a missed poll, not an
empty node. What a call means is decided elsewhere (``supervisor.py``, ``node.py``, ``caller.py``, ``relay.py``).
"""

import logging
import re
from collections.abc import Iterator

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from cortex.contract.error import (
    CapacityError,
    CortexError,
    MalformedRequest,
    MethodNotAllowed,
    PathNotFound,
    UpstreamError,
)
from cortex.contract.instance import (
    EVENT_HEADER,
    RELAY_PREFIX,
    START_ID_HEADER,
    EndpointAnswer,
    LoadRequest,
    PinRequest,
    UnloadRequest,
)
from cortex.contract.lease import GatewayId, LeasePost
from cortex.contract.node import MaintenanceRequest, RestartRequest
from cortex.kit.cause import work_for
from cortex.kit.event_stream import Since
from cortex.kit.json_call import json_response, read_json
from cortex.kit.loop_lag import LoopLag
from cortex.kit.tls import Tls
from cortex.kit.tracer import Tracer
from cortex.neuron.caller import Door
from cortex.neuron.edge_error import body_of, status_of
from cortex.neuron.endpoint import Call, Endpoints, Reach, bracketed
from cortex.neuron.event import EventCounter
from cortex.neuron.metric import MetricsPage
from cortex.neuron.node import Node
from cortex.neuron.refusal import Starting, Unauthorized
from cortex.neuron.relay import Message, Receive, Relay, Scope, Send
from cortex.neuron.reloading import Reloading
from cortex.neuron.trace import cause_in, traced_load, traced_relay

log = logging.getLogger(__name__)

LOG_LINES = 200
MAX_LOG_LINES = 2000
OPEN_PATHS = ("/livez", "/readyz")
"""Asked by whatever keeps the process running, which has no credential; they tell nothing else."""


_AUTHORITY = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d+)?")


class Api:
    """The ASGI application; ``node`` is set once the neuron has started."""

    def __init__(
        self,
        door: Door,
        endpoints: Endpoints,
        events: EventCounter,
        lag: LoopLag,
        tracer: Tracer | None = None,
        tls: Tls | None = None,
        reloading: Reloading | None = None,
    ) -> None:
        self._tracer = tracer
        self._reloading = reloading
        self.node: Node | None = None
        self._tls = tls
        self._lag = lag
        self.door = door
        self._endpoints = endpoints
        self._events = events
        self._relay = Relay(
            lambda nonce: self._started().supervisor.route(nonce),
            lambda nonce: self._started().supervisor.credential(nonce),
        )
        self._app = Starlette(
            routes=[
                Route("/livez", self._get_livez),
                Route("/readyz", self._get_readyz),
                Route("/discovery", self._get_discovery),
                Route("/health", self._get_health),
                Route("/metrics", self._get_metrics),
                Route("/events", self._get_events),
                Route("/models", self._get_models),
                Route("/models/load", self._post_load, methods=["POST"]),
                Route("/models/unload", self._post_unload, methods=["POST"]),
                Route("/models/pin", self._post_pin, methods=["POST"]),
                Route("/maintenance", self._post_maintenance, methods=["POST"]),
                Route("/leases", self._post_leases, methods=["POST"]),
                Route("/harnesses/{harness}/restart", self._post_restart, methods=["POST"]),
                Route("/models/{model_id:path}/endpoint", self._get_endpoint),
                Route("/models/{model_id:path}/logs", self._get_logs),
            ],
            exception_handlers={HTTPException: _unrouted, CortexError: _refused, Exception: _defect},
        )
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        is_answered = False

        async def send_noted(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._version()]
            await send_noted(message)

        work_for(cause_in(scope["headers"]))
        try:
            if scope["path"].startswith(RELAY_PREFIX):
                # The path is a secret of its own, so no other credential is asked for; what comes back is the engine's.
                self.door.check_network(_client(scope))
                with traced_relay(self._tracer, scope):
                    await self._relay(scope, receive, send_noted)
            else:
                self._check(scope)
                await self._app(scope, receive, send_with_version)
        except (
            UpstreamError
        ) as error:  # of the relay, nothing sent: 503 makes a gateway go elsewhere, a 502 is an answer
            await _response(error, 503)(scope, receive, send_with_version)
        except CortexError as error:
            await _response(error)(scope, receive, send_with_version)
        except ClientDisconnect:
            log.debug("%s %s: the caller has left", scope["method"], scope["path"])
        except Exception as error:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if not is_answered:
                await _response(_internal(error))(scope, receive, send_with_version)

    async def close(self) -> None:
        """Cut what is being relayed."""
        await self._relay.close()

    def _check(self, scope: Scope) -> None:
        """Let the caller in or not, and nobody before the neuron has started."""
        if scope["path"] not in OPEN_PATHS:
            self.door.check(Headers(scope=scope), _client(scope))
        if scope["path"] != "/livez":
            self._started()

    def _started(self) -> Node:
        if self.node is None:
            raise Starting
        return self.node

    def _version(self) -> Iterator[tuple[bytes, bytes]]:
        yield START_ID_HEADER.encode(), self._events.start_id.encode()
        yield EVENT_HEADER.encode(), str(self._events.event).encode()

    async def _get_livez(self, _: Request) -> Response:
        return json_response({"status": "alive"})

    async def _get_readyz(self, _: Request) -> Response:
        return json_response({"status": "ready"})

    async def _get_discovery(self, _: Request) -> Response:
        return json_response(self._started().discovery())

    async def _get_health(self, _: Request) -> Response:
        return json_response(self._started().health())

    async def _get_events(self, request: Request) -> Response:
        text = request.headers.get("last-event-id") or request.query_params.get("since")
        try:
            since = Since.parse(text) if text else None
        except ValueError:
            raise MalformedRequest("since: expected <event> or <start_id>:<event>", field="since") from None
        stream = self._started().feed.stream(since)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _get_metrics(self, request: Request) -> Response:
        page = MetricsPage(self._started(), self._relay.passed, self._lag, self._tracer, self._tls, self._reloading)
        content, content_type = page.render(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})

    async def _get_models(self, _: Request) -> Response:
        return json_response(self._started().supervisor.reports())

    async def _post_load(self, request: Request) -> Response:
        wanted = await read_json(request, LoadRequest)
        try:
            with traced_load(self._tracer, wanted):
                return json_response(await self._started().supervisor.load(wanted))
        except CapacityError as refusal:
            if status_of(refusal) == 409:
                refusal.details["snapshot"] = self._started().snapshot()
            raise

    async def _post_unload(self, request: Request) -> Response:
        wanted = await read_json(request, UnloadRequest)
        answer = await self._started().supervisor.unload(wanted)
        return json_response(answer, 202 if answer.status == "draining" else 200)

    async def _post_leases(self, request: Request) -> Response:
        post = await read_json(request, LeasePost)
        return json_response(self._started().lease(post))

    async def _post_pin(self, request: Request) -> Response:
        wanted = await read_json(request, PinRequest)
        return json_response(self._started().supervisor.pin(wanted))

    async def _post_maintenance(self, request: Request) -> Response:
        wanted = await read_json(request, MaintenanceRequest)
        return json_response(self._started().supervisor.maintain(wanted))

    async def _post_restart(self, request: Request) -> Response:
        wanted = await read_json(request, RestartRequest)
        return json_response(await self._started().supervisor.restart(request.path_params["harness"], wanted))

    async def _get_endpoint(self, request: Request) -> Response:
        reach = self._started().supervisor.reach(request.path_params["model_id"])
        server, port = request.scope["server"][:2]
        tls_name = _authority(request) if request.scope["scheme"] == "https" else ""
        call = Call(_client(request.scope), server, port, self.door.asks_credential, tls_name)
        return json_response(self._held(request, reach, self._endpoints.answer(reach, call)))

    def _held(self, request: Request, reach: Reach, answer: EndpointAnswer) -> EndpointAnswer:
        """Make the gateway that asks a holder, and tell it how many requests it may have there."""
        gateway = _gateway(request)
        if gateway is None or not reach.generation:
            return answer
        slots = self._started().leases.hold(gateway, request.path_params["model_id"])
        return msgspec.structs.replace(answer, slots=slots)

    async def _get_logs(self, request: Request) -> Response:
        model_id, lines = request.path_params["model_id"], request.query_params.get("lines", str(LOG_LINES))
        if not (lines.isascii() and lines.isdigit() and len(lines) < 10 and 1 <= int(lines) <= MAX_LOG_LINES):
            raise MalformedRequest(f"lines: expected 1 to {MAX_LOG_LINES}, got {lines[:20]}", field="lines")
        wanted = request.query_params.get("follow", "false")
        if wanted not in ("true", "false"):
            raise MalformedRequest(f"follow: expected true or false, got {wanted[:20]}", field="follow")
        if wanted == "true":
            text = self._started().supervisor.log_follow(model_id, int(lines))
            return StreamingResponse(text, media_type="text/plain", headers={"cache-control": "no-store"})
        return json_response({"id": model_id, "lines": self._started().supervisor.log_tail(model_id, int(lines))})


def _gateway(request: Request) -> str | None:
    """Return which gateway asks, by its own words; None: nobody who would hold something."""
    given = request.query_params.get("gateway")
    try:
        return None if given is None else msgspec.convert(given, GatewayId)
    except msgspec.ValidationError:
        raise MalformedRequest(
            "gateway: expected a gateway's id: 1 to 128 characters, none of them a control character", field="gateway"
        ) from None


def _authority(request: Request) -> str:
    """Return the host that a caller has asked, with the port; where it says none, the address it has reached."""
    host = request.headers.get("host", "")
    if _AUTHORITY.fullmatch(host):
        return host
    server, port = request.scope["server"][:2]
    return f"{bracketed(server)}:{port}"


def _client(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _response(error: CortexError, status: int | None = None) -> Response:
    response = json_response(body_of(error), status or status_of(error))
    if isinstance(error, Unauthorized):
        response.headers["www-authenticate"] = "Bearer"
    return response


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, CortexError)
    return _response(error)


async def _unrouted(request: Request, error: Exception) -> Response:
    """Answer for the router, which knows two errors: no such path, and no such method there."""
    assert isinstance(error, HTTPException)
    headers = error.headers or {}
    if error.status_code == 405:
        allowed = headers.get("Allow", headers.get("allow", ""))
        response = _response(MethodNotAllowed(f"{request.method} is not for {request.url.path}; it takes: {allowed}"))
    else:
        response = _response(PathNotFound(f"there is nothing at {request.url.path}"))
    response.headers.update(headers)
    return response


async def _defect(_: Request, error: Exception) -> Response:
    return _response(_internal(error))


def _internal(error: Exception) -> CortexError:
    return CortexError(f"an internal error ({type(error).__name__}); the neuron's log has the details")

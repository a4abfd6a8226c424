"""``POST /v1/images/generations`` over a ComfyUI, under a path that only one generation has; and what a neuron asks.

An image comes inside the answer, as base64 or as a ``data:`` URL: whoever got the answer can open it, wherever he is,
and nothing is left to be served, or guessed, afterwards.
"""

import base64
import logging
import secrets
from collections.abc import Awaitable, Mapping

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from cortex.contract.error import (
    BodyTooLarge,
    CortexError,
    MethodNotAllowed,
    ModelNotFound,
    PathNotFound,
    UpstreamError,
)
from cortex.dialects.error import openai_body
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner
from cortex.neuron.edge_error import status_of
from cortex.neuron.first_of import first_of
from cortex.neuron.images.answer import Image
from cortex.neuron.images.comfy import Comfy, client_id_of
from cortex.neuron.images.wish import OTHERWISE, SEEDS, Wish, read_wish
from cortex.neuron.images.workflow import Workflow, fill, places

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
CLIENT_GONE = 499
"""nginx's status for an answer that nobody waits for any more."""


class ImagesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one server is started with."""

    host: str
    port: int
    nonce: str
    """Of the generation."""
    model: str
    comfy: str
    checkpoint: str
    workflow: Workflow

    @property
    def prefix(self) -> str:
        """The path that only this generation has."""
        return f"/i/{self.nonce}"


class ImagesServer:
    """The ASGI application; ``app`` is what is served."""

    def __init__(self, settings: ImagesSettings, comfy: Comfy, clock: Clock) -> None:
        self._settings = settings
        self._comfy = comfy
        self._clock = clock
        self._owner = TaskOwner()
        self._in_flight = 0
        self._work = 0
        routes = [
            Route("/v1/images/generations", self._post_generation, methods=["POST"]),
            Route("/v1/models", self._get_models),
            Route("/health", self._get_health),
            Route("/activity", self._get_activity),
        ]
        self.app = Starlette(
            routes=[Mount(settings.prefix, routes=routes)],
            exception_handlers={HTTPException: _unrouted, CortexError: _refused, Exception: _defect},
        )

    async def _post_generation(self, request: Request) -> Response:
        wish = read_wish(await _body(request), self._settings.workflow)
        if wish.model not in (None, self._settings.model):
            raise ModelNotFound(f"Here is {self._settings.model}, not {wish.model}.")
        self._in_flight += 1
        self._work += 1
        try:
            name, outcome = await first_of(self._owner, done=_outcome(self._answer(wish)), gone=_gone(request))
        finally:
            self._in_flight -= 1
        if name == "gone":
            return Response(status_code=CLIENT_GONE)
        if isinstance(outcome, CortexError):
            raise outcome
        return _json(outcome)

    async def _answer(self, wish: Wish) -> Mapping[str, object]:
        contents = [await self._comfy.view(image) for image in await self._images(wish)]
        kind = "url" if wish.response_format == "url" else "b64_json"
        start = "data:image/png;base64," if kind == "url" else ""
        data = [{kind: start + base64.b64encode(content).decode()} for content in contents]
        return {"created": int(self._clock.epoch_s()), "data": data}

    async def _images(self, wish: Wish) -> list[Image]:
        """Return n images: of one run where the workflow makes batches, else of n runs with seeds in a row."""
        template = self._settings.workflow
        otherwise = {**OTHERWISE, "CHECKPOINT": self._settings.checkpoint}
        first_seed = secrets.randbelow(1 << 32) if wish.seed is None else wish.seed
        runs = 1 if "N" in places(template) else wish.count
        images: list[Image] = []
        for run in range(runs):
            values = wish.values() | {"SEED": (first_seed + run) % SEEDS, "N": wish.count}
            workflow = fill(template, values, otherwise)
            images += await self._comfy.run(workflow, client_id_of(self._settings.nonce))
        return images[: wish.count]

    async def _get_models(self, _: Request) -> Response:
        model = {"id": self._settings.model, "object": "model", "created": 0, "owned_by": "comfyui"}
        return _json({"object": "list", "data": [model]})

    async def _get_health(self, _: Request) -> Response:
        await self._comfy.stats()
        return _json({"status": "ok"})

    async def _get_activity(self, _: Request) -> Response:
        return _json({"in_flight": self._in_flight, "work": self._work})


async def _outcome(answer: Awaitable[Mapping[str, object]]) -> Mapping[str, object] | CortexError:
    try:
        return await answer
    except CortexError as error:
        return error


async def _gone(request: Request) -> None:
    """Return once the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge(f"The body is larger than {MAX_BODY_BYTES >> 20} MiB.")
        parts.append(part)
    return b"".join(parts)


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, CortexError)
    status = 503 if isinstance(error, UpstreamError) else status_of(error)  # with 503 a gateway goes to another place
    log.log(logging.INFO if status < 500 else logging.ERROR, "%s: %s", error.code, error.message)
    return Response(openai_body(error), status, media_type="application/json")


async def _unrouted(request: Request, error: Exception) -> Response:
    is_method = isinstance(error, HTTPException) and error.status_code == 405
    return await _refused(request, MethodNotAllowed() if is_method else PathNotFound())


async def _defect(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_GONE)
    return await _refused(request, CortexError())

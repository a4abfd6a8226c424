"""A mistral.rs server without an engine: its routes, its two dialects and its defects, over a real socket.

Made from the source of v0.9.2 and the handlers of v0.9.3 (read 2026-10). In a test's own loop:

    async with FakeMistralRs({"a/b": FakeModel()}, version="0.9.2") as server:
        ...  # server.url

``fake_mistralrs.py`` makes a program of it. Models load before it listens. It holds real memory for a model, and may
keep some of it.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from cortex.kit.task import TaskOwner
from cortex.testing.fake_mistralrs import FakeModel, FakeOptions
from cortex.testing.mistralrs_table import ModelTable, NotServed, Status

MIB = 1 << 20
NEW_DIALECT = (0, 9, 3)
HIDDEN = "Internal server error."
POLL_S = 0.005
HOUSEKEEPING = ("/", "/health", "/metrics")
CREATED = 1_755_000_000
"""The server's start, the same for all of its models."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeMistralRs:
    """One server. ``models`` by id; the first is the default. ``calls`` lists what it was asked for."""

    def __init__(
        self,
        models: Mapping[str, FakeModel] | None = None,
        *,
        version: str = "0.9.5",
        has_metrics: bool = True,
        options: FakeOptions | None = None,
    ) -> None:
        self.options = options or FakeOptions(version=version, models=dict(models or {}))
        self.models = dict(self.options.models if models is None else models)
        self.table = ModelTable(self.models, [name for name, model in self.models.items() if not model.has_loader])
        self.calls: list[str] = []
        self.is_new = tuple(int(part) for part in self.options.version.split(".")) >= NEW_DIALECT
        self.load_gate = asyncio.Event()
        self.load_gate.set()
        self.token_gate = asyncio.Event()
        self.token_gate.set()
        self.has_metrics = has_metrics
        self.is_well = True
        self.url = ""
        self._engines: dict[str, asyncio.Event] = {}
        self._memory: dict[str, bytes] = {}
        self._leaked: list[bytes] = []
        self._in_flight: dict[tuple[str, str, str], int] = {}
        self._totals: dict[tuple[str, str, str, int], int] = {}
        self._tasks = TaskOwner()
        self._ids = 0
        self._lists = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.listen("127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def listen(self, host: str, port: int) -> None:
        """Load every model, then listen. Raises: RuntimeError when a load fails, OSError for a port taken."""
        for name in self.models:
            error = await self._load(name)
            if error is not None:
                raise RuntimeError(error)
        for name in self.options.unloaded:
            self._unload(name)
        self._runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening; what is answered is cut, what is loading is left."""
        await self._tasks.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    def count(self, call: str) -> int:
        """Return how often it was asked for ``"METHOD path id"``."""
        return self.calls.count(call)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._counted], client_max_size=50 * MIB)
        application.add_routes(
            [
                web.get("/", self._health),
                web.get("/health", self._health),
                web.get("/v1/models", self._list),
                web.post("/v1/models/unload", self._post_unload),
                web.post("/v1/models/reload", self._post_reload),
                web.post("/v1/models/status", self._post_status),
                web.get("/v1/system/info", self._info),
                web.get("/metrics", self._metrics),
                web.post("/v1/chat/completions", self._chat),
            ]
        )
        return application

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count as the real one does: in flight until the end of the body, all but its housekeeping."""
        name = await _named_model(request)
        self.calls.append(" ".join(filter(None, (request.method, request.path, name))))
        if request.path in HOUSEKEEPING:
            return await handler(request)
        key = (request.method, request.path, self._label(request.path, name))
        self._in_flight[key] = self._in_flight.get(key, 0) + 1
        status = 500
        try:
            response = await handler(request)
            status = response.status
            if (asked := request.headers.get("x-request-id")) and not response.prepared:
                response.headers["x-request-id"] = asked
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            self._in_flight[key] -= 1
            self._totals[*key, status] = self._totals.get((*key, status), 0) + 1

    def _label(self, path: str, name: str) -> str:
        """Return under which model a request is counted: calls that load and unload as well, the default by its id."""
        if path == "/v1/chat/completions" and name in ("", "default"):
            return self.table.default or "default"
        if path != "/v1/chat/completions" and not path.startswith("/v1/models/"):
            return "none"
        return name if self.table.knows(name) else "unknown"

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="OK") if self.is_well else web.Response(status=503)

    async def _list(self, _: web.Request) -> web.Response:
        entries = self.table.entries()
        self._lists += 1
        turn = self._lists % len(entries) if entries else 0  # a hash map's order: not to be relied upon
        listed = [self._entry(name, status) for name, status in (*entries[turn:], *entries[:turn])]
        listed += [
            self._entry(adapter, "loaded") | {"parent": model} for adapter, model in self.options.adapters.items()
        ]
        if listed or not self.is_new:
            listed.insert(0, self._entry("default", None))
        return web.json_response({"object": "list", "data": listed})

    def _entry(self, name: str, status: Status | None) -> dict[str, Any]:
        entry = {"id": name, "object": "model", "created": CREATED, "owned_by": "local", "root": name}
        return entry if status is None else {**entry, "status": status}

    async def _post_unload(self, request: web.Request) -> web.Response:
        name = await self._model_id(request)
        return name if isinstance(name, web.Response) else self._answer(name, self._unload(name))

    async def _post_reload(self, request: web.Request) -> web.Response:
        name = await self._model_id(request)
        if isinstance(name, web.Response):
            return name
        status, error = await asyncio.shield(self._tasks.start(self._reload(name), f"reload of {name}"))
        return self._answer(name, status, error)

    async def _post_status(self, request: web.Request) -> web.Response:
        name = await self._model_id(request)
        return name if isinstance(name, web.Response) else self._answer(name, self.table.status(name), is_question=True)

    async def _model_id(self, request: web.Request) -> str | web.Response:
        body = await self._body(request)
        if isinstance(body, web.Response):
            return body
        name = body.get("model_id")
        return name if isinstance(name, str) else self._bad_body("missing field `model_id`")

    async def _body(self, request: web.Request) -> dict[str, Any] | web.Response:
        """Return a decoded body, or the answer of the framework to one that is none."""
        if request.content_type != "application/json":
            words = "Expected request with `Content-Type: application/json`"
            return self._refusal(415, words, "invalid_content_type")
        try:
            body = msgspec.json.decode(await request.read())
        except msgspec.DecodeError as error:
            return self._refusal(400, f"Failed to parse the request body as JSON: {error}", "malformed_json")
        return body if isinstance(body, dict) else self._bad_body("invalid type")

    def _bad_body(self, words: str) -> web.Response:
        words = f"Failed to deserialize the JSON body into the target type: {words}"
        return self._refusal(400 if self.is_new else 422, words, "invalid_request_body")

    def _refusal(self, status: int, words: str, code: str) -> web.Response:
        """Return an answer of the framework: plain text in the old dialect."""
        return self._error(status, words, code) if self.is_new else web.Response(status=status, text=words)

    def _error(self, status: int, words: str, code: str, param: str | None = None) -> web.Response:
        """Return an error of the server's own: a bare message in the old dialect."""
        if not self.is_new:
            return web.json_response({"message": words}, status=status)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": words, "type": kind, "param": param, "code": code}
        return web.json_response({"error": error}, status=status)

    def _answer(
        self, name: str, status: Status, error: str | None = None, *, is_question: bool = False
    ) -> web.Response:
        """Return the answer of the three calls: always 200 in the old dialect."""
        is_good = status in ("loaded", "unloaded") or (is_question and status == "reloading")
        if not self.is_new or is_good:
            said = {"model_id": name, "status": status}
            return web.json_response(said if error is None else {**said, "error": error})
        if status == "not_found":
            return self._error(404, f"Model '{name}' was not found.", "model_not_found", "model")
        if status == "reloading":
            return self._error(409, f"Model '{name}' is being reloaded.", "model_state_conflict")
        if status == "no_loader_config":
            return self._error(400, f"Model '{name}' has no loader configuration.", "invalid_model_operation")
        return self._error(500, HIDDEN, "internal_error")

    def _unload(self, name: str) -> Status:
        status = self.table.unload(name)
        if status == "unloaded" and name in self._engines:
            self._engines.pop(name).set()  # shutdown outranks work: whatever runs is dropped
            weights = self._memory.pop(name, b"")
            self._leaked.append(weights[: self._model(name).leak_mb * MIB])
        return status

    async def _reload(self, name: str) -> tuple[Status, str | None]:
        refused = self.table.begin_reload(name)
        if refused is not None:
            return refused, None
        error = await self._load(name, is_again=True)
        self.table.end_reload(name, error is None)
        if error is not None:
            _log(f"ERROR mistralrs_core: failed to reload model `{name}`: {error}")
            return "internal_error", error
        return "loaded", None

    async def _load(self, name: str, *, is_again: bool = False) -> str | None:
        model = self._model(name)
        await self.load_gate.wait()
        await _while_there(self.options.hold_loads)
        await asyncio.sleep(model.load_s)
        error = model.error or (model.reload_error if is_again else None)
        if error is None:
            self._engines[name] = asyncio.Event()
            self._memory[name] = b"\1" * (model.weights_mb * MIB)
        return error

    def _model(self, name: str) -> FakeModel:
        return self.models.get(name, FakeModel())

    async def _info(self, _: web.Request) -> web.Response:
        build: dict[str, Any] = {"version": self.options.version, "cuda": False, "cudnn": False, "flash_attn": False}
        if self.options.cuda_toolkit_version is not None:
            build |= {"cuda": True, "cuda_toolkit_version": self.options.cuda_toolkit_version}
        cpu = {"kind": "cpu", "ordinal": None, "name": "CPU", "total_memory_bytes": 8 << 30}
        return web.json_response(
            {
                "os": "linux",
                "kernel": "6",
                "cpu": {},
                "memory": {"total_bytes": 8 << 30, "available_bytes": 4 << 30},
                "devices": list(self.options.devices) or [cpu],
                "build": {**build, "git_revision": "unknown"},
                "hf_cache_path": None,
            }
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        if not self.has_metrics:
            return web.Response(status=503)
        lines = ["# TYPE http_requests_in_flight gauge"]
        for (method, path, model), count in self._in_flight.items():
            lines.append(f'http_requests_in_flight{{method="{method}",path="{path}",model="{model}"}} {count}')
        lines.append("# TYPE http_requests_total counter")
        for (method, path, model, status), count in self._totals.items():
            labels = f'method="{method}",path="{path}",model="{model}",status="{status}"'
            lines.append(f"http_requests_total{{{labels}}} {count}")
        return web.Response(text="\n".join([*lines, ""]))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        if isinstance(body, web.Response):
            return body
        name = body.get("model")
        if name is not None and name != "default" and not self.table.knows(name):
            return self._unknown(name)
        try:
            served = await self._engine(name)
        except NotServed as refusal:
            return self._not_served(refusal)
        gone = self._engines[served]
        tokens = int(body.get("max_tokens") or 4)
        if body.get("stream"):
            return await self._stream(request, served, gone, tokens)
        for number in range(tokens):
            if not await self._next_token(number, gone):
                return self._error(500, "No response received from the model.", "model_error")
        message = {"role": "assistant", "content": "word " * tokens, "tool_calls": None}
        choice = {"finish_reason": "stop", "index": 0, "message": message, "logprobs": None}
        return web.json_response(self._said(served, "chat.completion", choice) | {"usage": _usage(tokens)})

    async def _engine(self, name: str | None) -> str:
        """Return the loaded model for a request, which loads it if need be: so it is. Raises: NotServed."""
        served = self.table.engine_for(name)
        if served is not None:
            return served
        assert name is not None
        # Whoever leaves meanwhile does not end it.
        status, error = await asyncio.shield(self._tasks.start(self._reload(name), f"lazy reload of {name}"))
        if status != "loaded":
            raise NotServed("failed", f"failed to reload model: {error}")
        return name

    def _unknown(self, name: str) -> web.Response:
        if self.is_new:
            return self._error(404, f"The model '{name}' does not exist.", "model_not_found", "model")
        if not self.table.loaded:
            return self._error(500, "No models are currently loaded.", "")
        known = ", ".join(self.table.loaded)
        words = (
            f"Requested model '{name}' is not available. Available models: {known}. Use 'default' to use the default."
        )
        return self._error(500, words, "")

    def _not_served(self, refusal: NotServed) -> web.Response:
        if not self.is_new:
            return self._error(500, refusal.words, "")
        if refusal.kind == "reloading":
            return self._error(409, refusal.words, "model_state_conflict")
        return self._error(500, HIDDEN, "internal_error")

    async def _stream(self, request: web.Request, served: str, gone: asyncio.Event, tokens: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number in range(tokens):
            if not await self._next_token(number, gone):
                return response  # the end, without [DONE], a finish_reason or an error
            is_last = number == tokens - 1
            delta = {"content": "word ", "role": "assistant", "tool_calls": None}
            choice = {"finish_reason": "stop" if is_last else None, "index": 0, "delta": delta, "logprobs": None}
            usage = _usage(tokens) if is_last else None
            chunk = self._said(served, "chat.completion.chunk", choice) | {"usage": usage}
            await response.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _next_token(self, number: int, gone: asyncio.Event) -> bool:
        """Wait for a token, the first one excepted; False when the engine was told to end meanwhile."""
        while not gone.is_set():
            if number == 0 or (self.token_gate.is_set() and not _is_there(self.options.hold_tokens)):
                return True
            await asyncio.sleep(POLL_S)
        return False

    def _said(self, served: str, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        self._ids += 1
        head = {"id": str(self._ids), "choices": [choice], "created": CREATED, "model": served}
        return {**head, "system_fingerprint": "local", "object": kind}


async def _named_model(request: web.Request) -> str:
    """Return the model that a body names, whatever else is in it."""
    try:
        body = msgspec.json.decode(await request.read() or b"{}")
    except msgspec.DecodeError:
        return ""
    name = body.get("model_id", body.get("model", "")) if isinstance(body, dict) else ""
    return name if isinstance(name, str) else ""


def _usage(tokens: int) -> dict[str, float]:
    counts = {"completion_tokens": tokens, "prompt_tokens": 3, "total_tokens": tokens + 3}
    rates = ("avg_tok_per_sec", "avg_prompt_tok_per_sec", "avg_compl_tok_per_sec")
    times = ("total_time_sec", "total_prompt_time_sec", "total_completion_time_sec")
    return {**counts, **dict.fromkeys((*rates, *times), 0.0)}


def _is_there(file: str | None) -> bool:
    return file is not None and Path(file).exists()


async def _while_there(file: str | None) -> None:
    while True:
        if not _is_there(file):
            return
        await asyncio.sleep(POLL_S)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

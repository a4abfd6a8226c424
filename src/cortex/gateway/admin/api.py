"""The admin API, ``/admin/v1/…``: an ASGI application that the front door hands its paths to.

Decodes, asks the control plane (``ports.FleetAdmin``), encodes; decides nothing. The one place where errors become
answers of this API.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cortex.contract import admin
from cortex.contract.activity import ActivityQuery
from cortex.contract.engine_log import LogQuery
from cortex.contract.error import (
    CallerError,
    CortexError,
    KeyForbidden,
    MalformedRequest,
    MethodNotAllowed,
    ModelNotFound,
    NodeNotFound,
    PathNotFound,
)
from cortex.contract.history import HistoryQuery
from cortex.contract.key import KeyChange, KeyList, KeyMade, KeyWish
from cortex.contract.usage import UsageQuery, UsageRequestQuery
from cortex.dialects.error import plain_body
from cortex.fleet.prospect import prospect_of, what_if
from cortex.fleet.resolve import describe_unknown, describe_unknown_node
from cortex.gateway.admin.caller import check_caller
from cortex.gateway.admin.decision_page import decision_page, known_query
from cortex.gateway.admin.entry import instance_entries, node_entries
from cortex.gateway.admin.event_answer import event_response
from cortex.gateway.admin.feed import FleetFeed
from cortex.gateway.admin.insight import Insight
from cortex.gateway.admin.model_entry import model_entries
from cortex.gateway.admin.openapi import document
from cortex.gateway.admin.operation import OPERATIONS, PREFIX, Operation
from cortex.gateway.admin.usage_page import UsagePages, report_csv
from cortex.gateway.edge_error import retry_after_s, status_of
from cortex.gateway.ports import FleetAdmin, Keys, Message, Receive, Send, Usage
from cortex.kit.clock import Clock
from cortex.kit.event_stream import Since
from cortex.kit.json_call import json_response, read_json, read_query
from cortex.kit.strict import did_you_mean

Q = TypeVar("Q", bound=msgspec.Struct)

MAX_NAME_CHARS = 1025
"""One more than any name has; what is longer is nobody's, and an answer need not repeat it."""


class AdminApi:
    """The application. Raises nothing: whatever goes wrong is answered."""

    def __init__(
        self,
        fleet: FleetAdmin,
        feed: FleetFeed,
        clock: Clock,
        keys: Keys | None = None,
        usage: Usage | None = None,
        *,
        insight: Insight,
    ) -> None:
        self._fleet = fleet
        self._usage = UsagePages(usage, clock)
        self._keys = keys
        self._insight = insight
        self._feed = feed
        self._clock = clock
        routes = [_route(operation, getattr(self, f"_{operation.name}")) for operation in OPERATIONS]
        handlers = {HTTPException: _unrouted, CortexError: _refused, Exception: _defect}
        self._app = Starlette(routes=routes, exception_handlers=handlers)
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        try:
            check_caller(Headers(scope=scope))
        except CortexError as error:
            await _response(error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # what there is

    async def _list_nodes(self, _: Request) -> Response:
        return json_response(admin.NodeList(node_entries(self._fleet.view())))

    async def _get_node(self, request: Request) -> Response:
        name, entries = request.path_params["name"][:MAX_NAME_CHARS], node_entries(self._fleet.view())
        for entry in entries:
            if entry.name == name:
                return json_response(entry)
        raise NodeNotFound(describe_unknown_node(name, [entry.name for entry in entries]), node=name)

    async def _list_models(self, _: Request) -> Response:
        return json_response(admin.ModelList(model_entries(self._fleet.view())))

    async def _get_model(self, request: Request) -> Response:
        name, entries = request.path_params["id"][:MAX_NAME_CHARS], model_entries(self._fleet.view())
        table = {alias: entry for entry in reversed(entries) for alias in entry.aliases}
        table.update((entry.id, entry) for entry in entries)
        if name not in table:
            known = {known: entry.id for known, entry in table.items()}
            raise ModelNotFound(describe_unknown(name, known), model=name)
        return json_response(table[name])

    async def _list_instances(self, _: Request) -> Response:
        return json_response(admin.InstanceList(tuple(instance_entries(self._fleet.view()))))

    async def _list_queues(self, _: Request) -> Response:
        return json_response(self._fleet.queues())

    async def _list_callers(self, _: Request) -> Response:
        return json_response(admin.CallerList(tuple(self._fleet.callers())))

    async def _list_decisions(self, request: Request) -> Response:
        log = self._fleet.log
        query = known_query(read_query(request, admin.DecisionQuery), self._fleet.view(), log)
        return json_response(decision_page(log, query, self._clock))

    async def _stream_events(self, request: Request) -> Response:
        text = request.headers.get("last-event-id") or read_query(request, admin.EventQuery).since
        try:
            since = Since.parse(text) if text else None
        except ValueError:
            raise MalformedRequest("since: expected the id of an event, <start>:<number>.", param="since") from None
        return event_response(self._feed.stream(since))

    async def _list_activity(self, request: Request) -> Response:
        return json_response(self._insight.activity(read_query(request, ActivityQuery)))

    async def _get_history(self, request: Request) -> Response:
        return json_response(self._insight.history(read_query(request, HistoryQuery)))

    async def _get_logs(self, request: Request) -> Response:
        query, (model, node) = read_query(request, LogQuery), (request.path_params[name] for name in ("id", "name"))
        if not query.follow:
            return json_response(await self._insight.log_tail(model[:MAX_NAME_CHARS], node[:MAX_NAME_CHARS], query))
        return event_response(self._insight.log_events(model[:MAX_NAME_CHARS], node[:MAX_NAME_CHARS], query))

    async def _explain_model(self, request: Request) -> Response:
        return json_response(self._fleet.explain(read_query(request, admin.ExplainQuery)))

    async def _plan_model(self, request: Request) -> Response:
        query = read_query(request, admin.PlanQuery)
        view = self._fleet.view()
        nodes = [node.name for node in view.nodes]
        if query.node is not None and query.node not in nodes:
            raise NodeNotFound(describe_unknown_node(query.node, nodes), node=query.node)
        explanation = self._fleet.explain(query)
        known = () if what_if(query) else view.models
        model = next((model for model in known if model.id == explanation.model), None)
        return json_response(prospect_of(explanation, model, query.node))

    async def _get_openapi(self, _: Request) -> Response:
        return json_response(document())

    # what is done

    async def _load_model(self, request: Request) -> Response:
        outcome = await self._fleet.load(await read_json(request, admin.LoadCall))
        return json_response(outcome, 200 if outcome.status == "loaded" else 202)

    async def _unload_model(self, request: Request) -> Response:
        outcome = await self._fleet.unload(await read_json(request, admin.UnloadCall))
        return json_response(outcome, 200 if outcome.status == "unloaded" else 202)

    async def _pin_model(self, request: Request) -> Response:
        return json_response(await self._fleet.pin(await read_json(request, admin.PinCall)))

    async def _drain_node(self, request: Request) -> Response:
        return await self._maintain(request, is_on=True)

    async def _undrain_node(self, request: Request) -> Response:
        return await self._maintain(request, is_on=False)

    async def _maintain(self, request: Request, *, is_on: bool) -> Response:
        await read_json(request, admin.DrainCall)
        return json_response(await self._fleet.maintain(request.path_params["name"], is_on=is_on))

    # usage

    async def _sum_usage(self, request: Request) -> Response:
        query = read_query(request, UsageQuery)
        report = await self._usage.report(query)
        if query.format == "json":
            return json_response(report)
        return Response(report_csv(report), media_type="text/csv")

    async def _list_usage(self, request: Request) -> Response:
        return json_response(await self._usage.page(read_query(request, UsageRequestQuery)))

    # keys

    async def _list_keys(self, _: Request) -> Response:
        return json_response(KeyList(keys=await self._stored_keys().list_all()))

    async def _use_of_key(self, request: Request) -> Response:
        return json_response(await self._stored_keys().use_of(request.path_params["name"]))

    async def _create_key(self, request: Request) -> Response:
        wish, keys = await read_json(request, KeyWish), self._stored_keys()
        if not await keys.list_all():  # whoever makes the first one decides who may make others
            raise KeyForbidden("The first key is made on the gateway's host: cortex keys create NAME --admin")
        return _secret_response(await keys.create(wish))

    async def _revoke_key(self, request: Request) -> Response:
        await read_json(request, KeyChange)
        return json_response(await self._stored_keys().revoke(request.path_params["name"]))

    async def _rotate_key(self, request: Request) -> Response:
        await read_json(request, KeyChange)
        return _secret_response(await self._stored_keys().rotate(request.path_params["name"]))

    def _stored_keys(self) -> Keys:
        if self._keys is None:
            raise CallerError("Keys live in the store, and there is none: set url under [store] in cortex.toml.")
        return self._keys


def _route(operation: Operation, handler: Callable[[Request], Awaitable[Response]]) -> Route:
    path = PREFIX + operation.path.replace("{id}", "{id:path}")
    return Route(path, handler, methods=[operation.method], name=operation.name)


def _secret_response(made: KeyMade) -> Response:
    response = json_response(made)
    response.headers["cache-control"] = "no-store"
    return response


def _response(error: CortexError) -> Response:
    response = Response(plain_body(error), status_of(error), media_type="application/json")
    seconds = retry_after_s(error)
    if seconds is not None:
        response.headers["retry-after"] = str(seconds)
    return response


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, CortexError)
    return _response(error)


async def _defect(_: Request, _error: Exception) -> Response:
    return _response(CortexError())


async def _unrouted(request: Request, error: Exception) -> Response:
    """Answer for the router, which knows two errors: no such path, and no such method there."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code != 405:
        return _response(PathNotFound(f"There is nothing at {path!r}{_nearest(path)} See GET {PREFIX}/openapi.json."))
    allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
    response = _response(MethodNotAllowed(f"{path!r} takes {allowed}, not {request.method}.", allowed=allowed))
    response.headers["allow"] = allowed
    return response


def _nearest(path: str) -> str:
    near = did_you_mean(path, [PREFIX + operation.path for operation in OPERATIONS])
    return f"{near}" if near else "."

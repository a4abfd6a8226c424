"""The operations of the admin API: method, path and messages of each. Data: routes and OpenAPI are made from it."""

import msgspec

from cortex.contract import activity, admin, engine_log, history, key, usage
from cortex.fleet.explain import Explanation
from cortex.fleet.prospect import Prospect

PREFIX = "/admin/v1"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. ``name`` is its id and its handler's. ``{id}`` in a path may hold slashes, raw or as ``%2F``.

    ``answer`` None: server-sent events, or the OpenAPI document itself.
    """

    name: str
    path: str
    summary: str
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    may_take_time: bool = False
    """202 while it is not done yet."""
    may_follow: bool = False
    """With ``follow`` server-sent events instead."""

    @property
    def method(self) -> str:
        """GET for what only reads."""
        return "GET" if self.body is None else "POST"


OPERATIONS = (
    Operation(name="list_nodes", path="/nodes", summary="All nodes with their devices.", answer=admin.NodeList),
    Operation(name="get_node", path="/nodes/{name}", summary="One node.", answer=admin.NodeEntry),
    Operation(
        name="drain_node",
        path="/nodes/{name}/drain",
        summary="Place nothing new on a node any more, and have the steward empty it.",
        body=admin.DrainCall,
        answer=admin.DrainOutcome,
    ),
    Operation(
        name="undrain_node",
        path="/nodes/{name}/undrain",
        summary="Use a node again.",
        body=admin.DrainCall,
        answer=admin.DrainOutcome,
    ),
    Operation(name="list_models", path="/models", summary="All models, loaded or not.", answer=admin.ModelList),
    Operation(name="get_model", path="/models/{id}", summary="One model, by id or alias.", answer=admin.ModelEntry),
    Operation(
        name="list_instances", path="/instances", summary="Which model is where, and how.", answer=admin.InstanceList
    ),
    Operation(name="list_queues", path="/queue", summary="Who waits, in their order.", answer=admin.QueueList),
    Operation(
        name="list_callers",
        path="/callers",
        summary="Which callers have caused loads and evictions.",
        answer=admin.CallerList,
    ),
    Operation(
        name="list_decisions",
        path="/decisions",
        summary="What was decided, and why.",
        query=admin.DecisionQuery,
        answer=admin.DecisionPage,
    ),
    Operation(
        name="stream_events",
        path="/events",
        summary="Decisions and changes of the fleet as they happen, as server-sent events.",
        query=admin.EventQuery,
    ),
    Operation(
        name="explain_model",
        path="/explain",
        summary="For every node why a model would be loaded there or not.",
        query=admin.ExplainQuery,
        answer=Explanation,
    ),
    Operation(
        name="plan_model",
        path="/plan",
        summary="What would happen if the model was asked for, without doing it.",
        query=admin.PlanQuery,
        answer=Prospect,
    ),
    Operation(
        name="load_model",
        path="/load",
        summary="Load a model.",
        body=admin.LoadCall,
        answer=admin.LoadOutcome,
        may_take_time=True,
    ),
    Operation(
        name="unload_model",
        path="/unload",
        summary="Unload a model from a node.",
        body=admin.UnloadCall,
        answer=admin.UnloadOutcome,
        may_take_time=True,
    ),
    Operation(
        name="pin_model",
        path="/pin",
        summary="Keep a model on a node, or let it go.",
        body=admin.PinCall,
        answer=admin.PinOutcome,
    ),
    Operation(
        name="list_activity",
        path="/activity",
        summary="Requests that run, and the last that are over.",
        query=activity.ActivityQuery,
        answer=activity.ActivityPage,
    ),
    Operation(
        name="get_history",
        path="/history",
        summary="Figures of the last hours.",
        query=history.HistoryQuery,
        answer=history.History,
    ),
    Operation(
        name="get_logs",
        path="/nodes/{name}/models/{id}/logs",
        summary="The end of an engine's log; with `follow` what comes, too, as server-sent events.",
        query=engine_log.LogQuery,
        answer=engine_log.LogTail,
        may_follow=True,
    ),
    Operation(name="list_keys", path="/keys", summary="Who may ask; no secrets.", answer=key.KeyList),
    Operation(
        name="use_of_key",
        path="/keys/{name}/limits",
        summary="How the limits of a key stand, over all gateways.",
        answer=key.KeyUse,
    ),
    Operation(
        name="create_key",
        path="/keys",
        summary="Make a key; its secret is told here and never again.",
        body=key.KeyWish,
        answer=key.KeyMade,
    ),
    Operation(
        name="revoke_key",
        path="/keys/{name}/revoke",
        summary="End a key for good.",
        body=key.KeyChange,
        answer=key.Key,
    ),
    Operation(
        name="rotate_key",
        path="/keys/{name}/rotate",
        summary="Give a key another secret, which is told here and never again; the one before holds no longer.",
        body=key.KeyChange,
        answer=key.KeyMade,
    ),
    Operation(
        name="sum_usage",
        path="/usage",
        summary="What was used, summed up by key, model, node, day, operation; also as CSV.",
        query=usage.UsageQuery,
        answer=usage.UsageReport,
    ),
    Operation(
        name="list_usage",
        path="/usage/requests",
        summary="The requests themselves, the oldest first, in pages.",
        query=usage.UsageRequestQuery,
        answer=usage.UsagePage,
    ),
    Operation(name="get_openapi", path="/openapi.json", summary="This API, described for machines."),
)

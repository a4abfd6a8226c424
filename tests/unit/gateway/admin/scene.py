"""A fleet that an admin API can be asked about, without a control plane: what is asked of it is written down."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from tests.unit.fleet.builder import a_health, a_node, a_profile, a_report
from tests.unit.gateway.admin.fake_insight import Seen
from tests.unit.gateway.admin.fake_usage import FakeUsage

from cortex.contract.admin import (
    CallerEntry,
    DrainOutcome,
    ExplainQuery,
    LoadCall,
    LoadOutcome,
    PinCall,
    PinOutcome,
    QueueEntry,
    QueueList,
    UnloadCall,
    UnloadOutcome,
)
from cortex.contract.error import KeyNotFound
from cortex.contract.key import Key, KeyMade, KeyUse, KeyWish, LimitUse
from cortex.fleet.decision import DecisionLog
from cortex.fleet.explain import Explanation, NodeNote
from cortex.fleet.view import FleetView, ModelView, NodeView, ReplicaView
from cortex.gateway.ports import AsgiApp, Message
from cortex.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from cortex.contract.error import CortexError

BEAST = a_node("beast", (32_000, 32_000), free_mb=(9_000, None), models=[a_report("org/big", generation=3)])
BENJY = a_node("benjy", is_healthy=False, why="connection refused", models=[a_report("old", "failed")])


def a_model(model: str = "org/big", node: str = "beast", **keys: object) -> ModelView:
    replica = ReplicaView(node=node, generation=3, is_ready=True, in_flight=2, parallel=4, last_used_s=1.0)
    base = {"id": model, "profile": a_profile(model, aliases=("big",)), "replicas": (replica,), "waiting": 1}
    return ModelView(**(base | {"loading_on": None} | keys))  # type: ignore[arg-type]


def a_view(nodes: Iterable[NodeView] = (BEAST, BENJY), models: Iterable[ModelView] | None = None) -> FleetView:
    return FleetView(nodes=tuple(nodes), models=tuple(models) if models is not None else (a_model(),))


class FakeKeys:
    """Implements ``ports.Keys`` in memory; ``beast`` is the id of one of them."""

    def __init__(self) -> None:
        self.kept = {"beast": Key(id="beast", name="first", shown="ctx-0000", scope="admin")}

    async def list_all(self) -> tuple[Key, ...]:
        return tuple(self.kept.values())

    async def use_of(self, key_id: str) -> KeyUse:
        limits = (LimitUse(limit="tokens_per_day", bound=100, used=40, held=7, resets_in_s=60.5),)
        return KeyUse(id=key_id, name=self._known(key_id).name, limits=limits)

    async def create(self, wish: KeyWish) -> KeyMade:
        key = Key(id=f"key_{len(self.kept)}", name=wish.name, shown="ctx-1111", scope=wish.scope, models=wish.models)
        self.kept[key.id] = key
        return KeyMade(key=key, secret="ctx-11112222")

    async def revoke(self, key_id: str) -> Key:
        self.kept[key_id] = msgspec.structs.replace(self._known(key_id), revoked_s=1.0)
        return self.kept[key_id]

    async def rotate(self, key_id: str) -> KeyMade:
        return KeyMade(key=self._known(key_id), secret="ctx-33334444")

    def _known(self, key_id: str) -> Key:
        if key_id not in self.kept:
            raise KeyNotFound
        return self.kept[key_id]


class FakeFleet:
    """Implements ``ports.FleetAdmin`` from plain values."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.keys: FakeKeys | None = FakeKeys()
        self.usage = FakeUsage()
        self.seen = Seen(self, self.clock)
        self.log = DecisionLog()
        self.now = a_view()
        self.asked: list[object] = []
        self.refusal: CortexError | None = None
        self.status = "loaded"

    def view(self) -> FleetView:
        return self.now

    def queues(self) -> QueueList:
        queue = QueueEntry(model="org/big", waiting=1, oldest_wait_s=2.5, by_caller={"me": 1}, requests=())
        return QueueList(waiting=1, queues=(queue,))

    def callers(self) -> list[CallerEntry]:
        return [CallerEntry(caller="me", loads=1, failures=0, evictions=2, loading_s=3.5, cold_starts=4)]

    def explain(self, query: ExplainQuery) -> Explanation:
        self._note(query)
        nodes = (NodeNote(node="beast", verdict="fits", why="fits free memory", rank=1),)
        return Explanation(model="org/big", strategy="lru", priority=0, need_mb=1000, nodes=nodes)

    async def load(self, call: LoadCall) -> LoadOutcome:
        self._note(call)
        return LoadOutcome(model=call.model, node=call.node, status=self.status)

    async def unload(self, call: UnloadCall) -> UnloadOutcome:
        self._note(call)
        return UnloadOutcome(model=call.model, node=call.node, status="unloaded" if call.wait else "draining")

    async def pin(self, call: PinCall) -> PinOutcome:
        self._note(call)
        return PinOutcome(model=call.model, node=call.node, pinned=bool(call.pinned))

    async def maintain(self, node: str, *, is_on: bool) -> DrainOutcome:
        self._note((node, is_on))
        return DrainOutcome(node=node, maintenance=is_on)

    def _note(self, what: object) -> None:
        self.asked.append(what)
        if self.refusal is not None:
            raise self.refusal


class Answer(NamedTuple):
    """One whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of the plain shape, which has exactly its three members."""
        error = self.json()["error"]
        assert set(error) == {"code", "message", "details"}
        return dict(error)


async def ask(
    app: AsgiApp, method: str, path: str, body: bytes | object = b"", query: str = "", **headers: str
) -> Answer:
    """Send one request and return the whole answer; ``headers`` with ``_`` for ``-``."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    given = {"host": "gateway", **({"content_type": "application/json"} if method == "POST" else {}), **headers}
    sent: list[Message] = []
    left = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> Message:
        return left.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "server": None,
        "client": ("127.0.0.1", 0),
        "query_string": query.encode(),
        "headers": [(key.replace("_", "-").encode(), value.encode()) for key, value in given.items() if value],
    }
    await app(scope, receive, send)
    start, *rest = sent
    got = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], got, b"".join(message.get("body", b"") for message in rest))


__all__ = ["BEAST", "BENJY", "FakeFleet", "a_health", "a_model", "a_node", "a_profile", "a_report", "a_view", "ask"]

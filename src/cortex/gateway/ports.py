"""The Protocols through which the planes of the gateway meet; wired in ``gateway/app.py``. No behaviour."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from cortex.contract.activity import ActivityQuery, FinishedRequest, RunningRequest
from cortex.contract.admin import (
    CallerEntry,
    DrainOutcome,
    ExplainQuery,
    LoadCall,
    LoadOutcome,
    PinCall,
    PinOutcome,
    QueueList,
    UnloadCall,
    UnloadOutcome,
)
from cortex.contract.error import CortexError
from cortex.contract.key import Key, KeyMade, KeyUse, KeyWish
from cortex.contract.usage import UsageEntry, UsageGroup, UsageSum
from cortex.dialects.interface import Keep
from cortex.fleet.decision import DecisionLog
from cortex.fleet.effect import Grant, Target
from cortex.fleet.explain import Explanation
from cortex.fleet.outlook import Outlook
from cortex.fleet.quota import QuotaAnswer, QuotaReport
from cortex.fleet.view import FleetView
from cortex.kit.cause import Cause
from cortex.kit.sketch import Sketch

Suspicion = Literal["unreachable", "gone", "died", "silent"]
"""unreachable: the connection was refused or timed out; gone: the fence answered 401/404; died: a request that was
sent got no answer; silent: the connection stands, and nothing came on it for longer than an engine may take."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]
"""An application as ASGI has it: what answers whatever is not hot (admin -> front door)."""


class Waiter(Protocol):
    """A request that waits for a place. Exactly one of the two is called per ``acquire``, never after ``release``."""

    def granted(self, grant: Grant) -> None:
        """The request may be sent to ``grant.target``. May be called before ``acquire`` returns."""

    def refused(self, error: CortexError, model: str, node: str) -> None:
        """The request cannot be served. ``model`` is the canonical id, empty when the name is unknown."""

    def cause(self) -> Cause:
        """What others are to hear of the request, when something is done for its sake."""


class LoadAllowance(Protocol):
    """What a request may cause, where that is counted (control plane -> data plane)."""

    def loading(self) -> None:
        """A load was begun for it."""


class Leases(Protocol):
    """Hands out the right to send one request to an instance (data plane -> control plane)."""

    def acquire(
        self,
        name: str,
        waiter: Waiter,
        *,
        avoid: tuple[Target, ...] = (),
        caller: str = "",
        tokens: int = 0,
        head: bytes = b"",
        patience_s: float | None = None,
        priority: int = 0,
        no_load_s: float | None = None,
        allowance: LoadAllowance | None = None,
    ) -> int:
        """Ask for a place for one request naming a model (id or alias); return its ticket.

        ``avoid`` names targets already tried: they are used only when nothing else could ever serve, never twice.
        ``allowance`` hears of a load that is begun for it.
        ``caller``, ``tokens``, ``head``, ``patience_s``, ``priority``, ``no_load_s``: see
        ``fleet.event.RequestArrived``.
        """

    def release(self, ticket: int, *, is_cancelled: bool = False) -> None:
        """The request is over, granted or still waiting; call exactly once per ticket that was not refused.

        ``is_cancelled``: the answer was not awaited, so its engine may be at it still.
        """

    def suspect(self, target: Target, why: Suspicion) -> None:
        """Tell that a target failed, so that it is checked before it is granted again."""

    def vouch(self, ticket: int) -> None:
        """Tell that the engine has begun to answer a request whose grant was a probe."""

    def knows(self, name: str) -> bool:
        """Tell whether a name (id or alias) is a model's."""

    def names_of(self, name: str) -> tuple[str, ...]:
        """Return the id and the aliases of the model that a name is; none of a name that is no model's."""

    def outlook(self, ticket: int) -> Outlook | None:
        """What can be said to a request that waits; None when nothing can."""


class FleetReads(Protocol):
    """What the front door may know of the fleet."""

    def model_entries(self) -> list[dict[str, object]]:
        """One dict per model for ``GET /v1/models``: id, status, nodes [{node, status, devices}], context, aliases,
        capabilities, harness. Catalogue models included when unloaded; sorted by id."""

    def health(self) -> dict[str, object]:
        """Body of ``GET /health``.

        ``{"status": "ok" | "degraded" | "down", "nodes": [{"name", "healthy", "why", "models", "devices"}]}``
        """

    def place_of(self, name: str) -> Target | None:
        """Where a model (id or alias) is loaded, to be asked about it without a slot; None while it is loaded nowhere.

        Raises: NoHealthyNode, ModelNotFound, in this order.
        """

    def is_ready(self) -> bool:
        """Whether every neuron has been tried once since start."""


class FleetAdmin(Protocol):
    """What operators may see and do (admin plane -> control plane). Names may be ids or aliases.

    What is done raises a CortexError that says why not: ModelNotFound, NodeNotFound, NodeRefused, UpstreamError, …
    """

    @property
    def log(self) -> DecisionLog:
        """What was decided and why."""

    def view(self) -> FleetView:
        """The fleet as it is now."""

    def queues(self) -> QueueList:
        """Who waits."""

    def callers(self) -> list[CallerEntry]:
        """What callers have cost, the dearest first."""

    def explain(self, query: ExplainQuery) -> Explanation:
        """For every node why a model would be loaded there or not. Raises: ModelNotFound, CallerError."""

    async def load(self, call: LoadCall) -> LoadOutcome:
        """Load a model."""

    async def unload(self, call: UnloadCall) -> UnloadOutcome:
        """Unload a model from a node."""

    async def pin(self, call: PinCall) -> PinOutcome:
        """Pin a model on a node, or unpin it."""

    async def maintain(self, node: str, *, is_on: bool) -> DrainOutcome:
        """Place nothing new on a node any more, or do so again."""


class ShelfLimit(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept of responses; what is over it goes, the oldest first."""

    max_count: int = 50_000
    max_bytes: int = 1 << 30
    max_age_s: float = 30 * 86400.0
    """OpenAI's service keeps responses for 30 days."""


class ResponseShelf(Protocol):
    """Keeps records of responses for requests to come, within a ``ShelfLimit`` (data plane -> memory or store).

    What is not there (any more) is None, never an error. Raises StoreUnavailable soon when it cannot be asked.
    """

    async def put(self, kept: Keep) -> None:
        """Keep a record, instead of an older one of the same id; not one that is too large."""

    async def get(self, response_id: str) -> bytes | None:
        """Return a record."""

    async def age_s(self, response_id: str) -> float | None:
        """Return how long ago a record was put; None when there is none."""

    async def delete(self, response_id: str) -> bool:
        """Forget a record; return whether there was one."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says of a claim: who holds it, for what, and for how long yet.

    ``number`` grows with every new holder and never goes back.
    """

    name: str
    holder: str
    target: str
    number: int
    is_mine: bool
    expires_in_s: float


class Claims(Protocol):
    """What one gateway at a time does, agreed on in the store (control plane -> store).

    A claim ends by the database's clock. Every call raises StoreUnavailable soon when the store cannot be asked.
    """

    async def claim(self, name: str, target: str, ttl_s: float) -> Claim:
        """Take a claim that is free, has expired or is this gateway's own; else say whose it is, and their target."""

    async def renew(self, claim: Claim, ttl_s: float) -> bool:
        """Hold it for ``ttl_s`` from now on; False when it has expired or is another's by now."""

    async def release(self, claim: Claim) -> None:
        """Let go of it; of one that is another's by now nothing happens."""


class KeyRecord(msgspec.Struct, frozen=True):
    """A key and the SHA-256 of its secret, which nobody has but its holder."""

    digest: bytes
    key: Key


class KeyBook(Protocol):
    """Who shows which secret (data plane -> memory, which is kept up to date from the store). Never waits."""

    @property
    def is_needed(self) -> bool:
        """Whether calls need a key. Once one exists, for ever: revoked ones count, too.

        Raises: StoreUnavailable while that is not known, or where nobody is to be let in without the store.
        """

    def find(self, secret: bytes) -> Key | None:
        """Return whose secret it is, revoked and expired keys included; None for nobody's. Raises: StoreUnavailable."""

    def record_of(self, key_id: str) -> KeyRecord | None:
        """Return a key by its id, with what is kept of its secret now; None when there is none of that id."""


class SessionRecord(msgspec.Struct, frozen=True):
    """Somebody who has signed in to the dashboard: the SHA-256 of what the browser has and nobody keeps, with which key
    and which SHA-256 of its secret, and for how long it holds yet."""

    digest: bytes
    key_id: str
    key_digest: bytes
    left_s: float


class SessionStore(Protocol):
    """Who has signed in to the dashboard, for all gateways (admin plane -> store).

    Every call raises StoreUnavailable soon when the store cannot be asked.
    """

    async def begin(self, session: SessionRecord) -> bool:
        """Take a session down; False where its key does not hold any more. The oldest of a key's may end for it."""

    async def end(self, digests: Collection[bytes]) -> None:
        """End some; those that are not there have ended."""


class Players(Protocol):
    """Who asks models from the dashboard's playground (data plane -> admin plane)."""

    def admit(self, headers: Sequence[tuple[bytes, bytes]]) -> Key | None:
        """Return the key of the operator whose session it is; None where nobody has to sign in.

        Raises: Unauthorized, Forbidden, StoreUnavailable.
        """


class Keys(Protocol):
    """The keys themselves (admin plane -> store).

    Every call raises StoreUnavailable soon when the store cannot be asked, and KeyNotFound for an id that is no key's.
    """

    async def list_all(self) -> tuple[Key, ...]:
        """Return all keys, those too that do not hold any more, the oldest first."""

    async def use_of(self, key_id: str) -> KeyUse:
        """Return how the limits of a key stand over all gateways."""

    async def create(self, wish: KeyWish) -> KeyMade:
        """Make a key."""

    async def revoke(self, key_id: str) -> Key:
        """End a key for good; one that has ended stays as it is."""

    async def rotate(self, key_id: str) -> KeyMade:
        """Give a key another secret; the one before holds no longer. Raises: CallerError for a revoked one."""


class Quota(Protocol):
    """The limits of keys, counted over all gateways (data plane -> store).

    Every call raises StoreUnavailable soon when the store cannot be asked; whether it has taken the report then is not
    known.
    """

    async def settle(self, report: QuotaReport) -> QuotaAnswer | None:
        """Say how this gateway stands with a key; return what it may use, None where a newer report came before."""


class UsageSpan(msgspec.Struct, frozen=True, kw_only=True):
    """Whose requests, and of when: ``since_s`` counted, ``until_s`` not, UTC epoch seconds."""

    since_s: float
    until_s: float
    key: str | None = None
    model: str | None = None
    node: str | None = None
    operation: str | None = None


class UsageLog(Protocol):
    """Where finished requests are written down (data plane -> store)."""

    async def write(self, entries: Sequence[UsageEntry]) -> None:
        """Write a batch, all of it or nothing; entries that are there already stay. Raises: StoreUnavailable."""


class Usage(Protocol):
    """What was written down (admin plane -> store). Raises StoreUnavailable when the store cannot be asked."""

    async def sums(self, by: Sequence[UsageGroup], span: UsageSpan, limit: int) -> tuple[UsageSum, ...]:
        """Sum up by groups: by day in their order, else, and within a day, what had most requests first.

        Without groups: one sum of everything.
        """

    async def requests(self, span: UsageSpan, after: tuple[float, str] | None, limit: int) -> tuple[UsageEntry, ...]:
        """Return requests by start and id, from behind the one of that start and id."""


class FinishedPart(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the last requests that are over, oldest first; see ``ActivityPage``."""

    requests: tuple[FinishedRequest, ...]
    newest: int
    next: int
    is_gap: bool


class ActivityLog(Protocol):
    """The requests of this gateway (admin plane -> data plane). Never waits."""

    def running(self, query: ActivityQuery) -> tuple[tuple[RunningRequest, ...], int]:
        """Return those that are not over, the oldest first, and how many there are in all. ``query.model`` is an id."""

    def finished(self, query: ActivityQuery) -> FinishedPart:
        """Return the last ones that are over. ``query.model`` is an id."""


class Tally(msgspec.Struct):
    """What requests came to. ``errors``: those that failed by no fault of the caller."""

    requests: int = 0
    errors: int = 0
    cold_starts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token: Sketch = msgspec.field(default_factory=Sketch)
    """Seconds to the first content of streams."""
    overhead: Sketch = msgspec.field(default_factory=Sketch)
    """Seconds that the gateway itself took, of requests where both halves are known."""


class Traffic(Protocol):
    """What went on since somebody asked last (admin plane -> data plane)."""

    def take(self) -> dict[str, Tally]:
        """Return it by model, empty for that of no known one, and begin anew."""


class EngineLogs(Protocol):
    """The logs of engines (admin plane -> control plane).

    Raises: ModelNotFound, NodeNotFound, NodeRefused, CapacityError, UpstreamError.
    """

    async def tail(self, model: str, node: str, lines: int) -> tuple[str, ...]:
        """Return the last lines of a model's engine on a node."""

    def follow(self, model: str, node: str, lines: int) -> AsyncGenerator[tuple[str, ...]]:
        """Yield the last lines, then further ones as they come, nothing from time to time where none do.

        Ends when the model is unloaded. Close it when it is left before (``aclosing``).
        """

"""The words about requests that run and that ran lately. Data only.

Times ``…_epoch_s`` are UTC epoch seconds, everything else in ``_s`` is a duration. What nobody knows is null. No prompt
and no answer is ever in one of these.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(max_length=1024)]

RequestState = Literal["waiting", "loading", "sent", "streaming"]
"""waiting: it has no place yet; loading: its model is being loaded for it, or others make room; sent: an engine has it,
and no content came yet; streaming: content comes."""

RequestOutcome = Literal["ok", "engine_error", "failed", "refused", "client_gone"]
"""As in the access log."""

MAX_SHOWN = 1000


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """The decision that explains why a request waited, or was refused after it had.

    ``number`` and ``kind``: see decisions. ``evicts``: the models that had to go. ``load_s``: how long the load took.
    """

    number: int
    kind: str
    reason: str
    node: str
    caller: str
    evicts: tuple[str, ...] = ()
    load_s: float | None = None


class RunningRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request that is not over. ``model``: by id; what was asked for where that is no model's name."""

    request_id: str
    operation: str
    model: str
    node: str
    """Where it is, or where its model is being loaded; empty: nowhere yet."""
    caller: str
    """The id of its key, else the address that it comes from."""
    key: str
    """The name of its key."""
    state: RequestState
    started_epoch_s: float
    for_s: float
    stream: bool
    attempts: int
    """Places that it was given."""
    cold_start: bool
    first_token_s: float | None
    completion_tokens: int | None
    """So far; null where the engine says nothing of it before the end."""
    outlook: str = ""
    """What it waits for, in words."""
    why: Cause | None = None


class FinishedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request that is over."""

    number: int
    """Grows by one; begins again with the process."""
    request_id: str
    operation: str
    model: str
    node: str
    caller: str
    """The id of its key, else the address of its connection."""
    key: str
    ended_epoch_s: float
    duration_s: float
    stream: bool
    status: int
    outcome: RequestOutcome
    attempts: int
    lost: tuple[tuple[str, str], ...]
    """(node, error's code) of the attempts that failed before the last."""
    cold_start: bool
    first_token_s: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    tokens_per_s: float | None
    error: str | None
    why: Cause | None = None


class ActivityQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``since``: the last number seen; without it the newest that are over. The others narrow both lists down:
    ``model`` by id or alias, ``key`` by a key's name or a caller, ``outcome`` only what is over."""

    since: Annotated[int, Meta(ge=0)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_SHOWN)] = 100
    running: bool = True
    """false: only what is over."""
    model: Name | None = None
    node: Name | None = None
    key: Name | None = None
    outcome: RequestOutcome | None = None


class ActivityPage(msgspec.Struct, frozen=True, kw_only=True):
    """``running``: the oldest first; ``running_count``: how many there are in all. ``finished``: the oldest first.

    ``next`` is what to give as ``since`` the next time; ``gap``: some of those asked for are not kept any more.
    """

    running: tuple[RunningRequest, ...]
    running_count: int
    finished: tuple[FinishedRequest, ...]
    newest: int
    next: int
    gap: bool

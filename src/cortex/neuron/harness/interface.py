"""The contract of a harness, and the values that pass between it and the supervisor.

A harness adapts one engine kind under one configured entry. It prepares, starts and finds engines; an engine is one
running server. Neither decides when: the supervisor does, by the lifecycle. Expected failures are values
(``EngineExit``) or refusals (``CallerError``); anything else that is raised is a defect.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec

from cortex.contract.instance import InstanceError, LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
from cortex.kit.http_client import HttpClient
from cortex.neuron.state_dir import Handle, Record


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What engines of this kind can do; data, so that nobody asks for a name.

    ``process_model``: a process of ours per model; one server that several models share, each of them loaded into it
    and unloaded from it; or a server that is not ours.
    """

    process_model: Literal["per_model", "shared", "foreign"]
    is_fenced: bool
    """Its URLs are unique to a generation: a stale one reaches nobody."""
    reports_in_flight: bool
    can_restart: bool = True
    """False: its server is restarted where it runs, not from here."""


class Site(msgspec.Struct, kw_only=True):
    """What a harness must know of the node it is on; it may be otherwise at the harness's next probe."""

    bind_host: str
    """Where its engines listen."""
    is_tethered: bool
    """Engines end with the neuron, however it ends."""
    env: Mapping[str, str]
    """The environment of engines, scrubbed; the entry's own comes on top."""
    model_dirs: tuple[str, ...]
    gpu_kinds: frozenset[DeviceKind]
    """The kinds of GPU on this node."""
    cores: int
    http: HttpClient
    devices: tuple[Device, ...] = ()
    """All of this node: a shared server has its own, and says so in its own words."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A load that was checked and can be started. ``plan`` is the harness's own and opaque to everyone else."""

    need_mb: int
    is_estimate: bool
    parallel: int
    plan: object = None
    context: int | None = None
    """How many tokens one request may have; None: the engine decides."""
    devices: tuple[int, ...] | None = None
    """Where it will be, by index, because its shared server decides that; None: on the devices asked about."""


class Progress(msgspec.Struct):
    """How far a load is, 0 to 1, as its harness last noted; None: it does not tell."""

    fraction: float | None = None


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an engine is started with."""

    request: LoadRequest
    prepared: Prepared
    generation: int
    nonce: str
    devices: tuple[Device, ...]
    """The chosen ones, in the order of the request."""
    ordinals: tuple[int, ...]
    """The place of each among the node's devices of its kind."""
    log: Path
    free_mb: tuple[int | None, ...] = ()
    """What each had free at the newest sample; empty: nobody has looked."""
    progress: Progress = msgspec.field(default_factory=Progress)
    """For the harness to note; everybody else reads."""


class EngineExit(msgspec.Struct, frozen=True, kw_only=True):
    """An engine that is gone or did not start. ``is_port_taken``: it may do on another port."""

    error: InstanceError
    is_port_taken: bool = False


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's own count: requests in it now, waiting ones included, and a number that grows when it works."""

    in_flight: int
    work: float


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a server lists: its id here, its base URL before ``/v1/…``, its name there, and how it is there.

    A foreign server's are loaded. Of a shared server's, those that are loaded or loading without an instance of ours
    (by a request to the server itself, or at its start) become one, at their measured size.
    """

    id: str
    url: str
    engine_model: str
    status: Literal["loaded", "loading", "unloaded"] = "loaded"
    devices: tuple[int, ...] = ()
    """Those that a shared server uses, by index."""
    parallel: int = 1
    """Requests at a time, as far as a shared server says."""
    context: int | None = None
    """How many tokens one request may have, where a server says it."""
    credential: str | None = None
    """The key that a foreign server asks for."""
    is_silent: bool = False
    """The one of several foreign servers that listed it does not answer now."""
    is_broken: bool = False
    """Its server cannot load it again before it is restarted."""


class Engine(Protocol):
    """One running engine."""

    @property
    def handle(self) -> Handle:
        """How another neuron process could find it."""
        ...

    async def ready(self) -> None:
        """Return once it serves; for ever when it never does."""
        ...

    async def exited(self) -> EngineExit:
        """Return once it is gone, with why."""
        ...

    async def activity(self) -> Activity | None:
        """Ask what it is doing; None when it does not say."""
        ...

    async def stop(self, grace_s: float) -> bool:
        """End it, politely for ``grace_s``, then not; False when it is still there."""
        ...

    def let_go(self) -> None:
        """Stop watching it; it goes on."""
        ...


@runtime_checkable
class Restartable(Protocol):
    """What a harness has besides, whose models share one server process.

    Its engines are the models in that server: ``start`` loads one, ``stop`` unloads it, and one has ``exited`` when the
    server is gone or was seen without it (``shared_server.SharedEngine`` is all that). Their handles name the server's
    process and say ``is_shared``: nobody ever ends that process for the sake of one model.
    """

    async def restart(self) -> None:
        """Restart the server, which holds no model then, and return once it answers. Raises: UpstreamError."""
        ...


class Harness(Protocol):
    """One configured entry of ``neuron.toml``."""

    @property
    def name(self) -> str:
        """The entry's name."""
        ...

    @property
    def kind(self) -> str:
        """The entry's kind."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What its engines can do."""
        ...

    @property
    def device_kinds(self) -> frozenset[DeviceKind]:
        """The kinds of devices that its engines can use, known after the first probe; none: it needs no device."""
        ...

    async def probe(self) -> HarnessDetail:
        """Find out whether this entry can be used on this node, and if not, why."""
        ...

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        """Check a load and find what it needs, without changing anything. Raises: CallerError."""
        ...

    async def start(self, launch: Launch) -> Engine | EngineExit:
        """Start an engine; it need not serve yet. May take long when files are fetched, and can be cancelled."""
        ...

    async def recover(self, record: Record, log: Path) -> Engine | None:
        """Find an engine that an earlier neuron process started; None when it is gone.

        A record without a pid, given to a harness of a shared server only, is of a model that was seen loaded there:
        whatever process serves it now is the right one.
        """
        ...

    async def listed(self) -> tuple[ListedModel, ...] | None:
        """Return the models of a foreign or shared server; None when it does not answer. Without one: nothing."""
        ...

"""Harness ``mistralrs``, mode ``shared``: one server for all its models, run by systemd; models go in and out of it.

The server decides what it offers, in what quantisation and on which devices: a load that wants something else is
refused, never silently claimed. There is no fence: its URL is the same for every generation. A server that is down is
started by the first load; its models are loaded by it at every start, before it listens.
"""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from cortex.contract.error import ConfigError, MalformedRequest
from cortex.contract.instance import InstanceError, LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
from cortex.neuron.harness.interface import Capabilities, EngineExit, Launch, ListedModel, Prepared, Site
from cortex.neuron.local_server import listener_at
from cortex.neuron.mistralrs.installed import Installed, find_installed
from cortex.neuron.mistralrs.served import VISIBLE, Served, devices_of, served_by, size_mb
from cortex.neuron.mistralrs.server import MistralRsServer
from cortex.neuron.mistralrs.wire import Info, InfoBuild, Listing
from cortex.neuron.process.child import Child, attach, identity, may_run
from cortex.neuron.process.systemd import SystemdUnit
from cortex.neuron.refusal import NotManaged, NotOffered
from cortex.neuron.server_unit import ServerUnit
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.shared_server import Pace, SharedEngine
from cortex.neuron.state_dir import Handle, Record

UP_LIMIT_S = 3600.0
"""How long a server may take from its start until it listens: it loads all its models before."""
NOT_FOR_SHARED = ("args", "context", "mmproj")
"""What a model may be loaded with elsewhere, and a running server has decided already."""


class SharedMistralRs:
    """One entry of kind ``mistralrs`` whose models share a server."""

    def __init__(self, entry: HarnessEntry, site: Site, pace: Pace | None = None) -> None:
        """Raises: ConfigError when the entry has no endpoint."""
        if entry.endpoint is None:
            raise ConfigError(
                f"harnesses: '{entry.name}' of kind {entry.kind} needs `endpoint`, the server's base URL; "
                'or `mode = "per_model"`, which starts servers of its own'
            )
        self.name = entry.name
        self.kind = entry.kind
        self._entry = entry
        self._site = site
        self._pace = pace or Pace()
        self._url = entry.endpoint.removesuffix("/v1")
        self._server = MistralRsServer(self._url, site.http, self._journal)
        self._unit = None if entry.systemd_unit is None else self._server_unit(entry.systemd_unit)
        self._process = (0, 0)
        self._info: Info | None = None
        self._served = Served()
        self._visible: str | None = None
        self._listing: Listing | None = None
        self._counts = True
        self._installed = Installed()
        self._names: dict[str, str] = {}

    @property
    def capabilities(self) -> Capabilities:
        # A server with --disable-metrics counts nothing that could be waited for.
        return Capabilities(
            process_model="shared",
            is_fenced=False,
            reports_in_flight=self._counts,
            can_restart=self._unit is not None,
        )

    @property
    def device_kinds(self) -> frozenset[DeviceKind]:
        return frozenset(device.kind for device in self._devices())

    async def probe(self) -> HarnessDetail:
        is_up = await self._look() is not None
        build = self._info.build if is_up and self._info else InfoBuild()
        installed = await self._find_installed(build.cuda_toolkit_version)
        why_not = None if is_up or self._unit is None else await self._unit.why_it_cannot_start()
        return HarnessDetail(
            name=self.name,
            kind=self.kind,
            usable=why_not is None,
            why_not=why_not,
            version=build.version or installed.version,
            engine_cuda=build.cuda_toolkit_version or installed.cuda,
            engine_capability=installed.capability,
        )

    async def _find_installed(self, cuda: str | None) -> Installed:
        """Return what the program on this node says of itself; it is asked until it has said something."""
        if self._installed.version is None:
            self._installed = await find_installed(self._entry, self._site.env, cuda)
        return self._installed

    async def listed(self) -> tuple[ListedModel, ...] | None:
        listing = await self._look()
        if listing is None:
            return None
        devices = tuple(device.index for device in self._devices())
        return tuple(
            ListedModel(
                id=self._names.get(name, name),
                url=self._url,
                engine_model=name,
                status=state,
                devices=devices,
                parallel=self._served.max_seqs,
                is_broken=name in self._server.broken,
            )
            for name, state in sorted(listing.states.items())
        )

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        running = await self._look()
        listing, name = running or self._listing, request.source or request.model_id
        if listing is not None:
            name = self._engine_name(request, listing)
            self._check_name(request, name, listing)
        # Where no server runs nothing is decided yet: what it has is looked at when it has been started.
        self._check(request, name, devices if running else (), request.tensor_parallel if running else None)
        mine = self._devices()
        need_mb = request.vram_mb
        if need_mb is None:
            need_mb = await asyncio.to_thread(size_mb, name, self._info, sum(d.kind != "cpu" for d in mine)) or 0
        return Prepared(
            need_mb=need_mb,
            is_estimate=request.vram_mb is None,
            parallel=min(request.parallel or self._served.max_seqs, self._served.max_seqs),
            devices=tuple(device.index for device in mine),
        )

    async def start(self, launch: Launch) -> SharedEngine | EngineExit:
        failure = await self._bring_up()
        if failure is not None:
            return EngineExit(error=failure)
        listing = await self._look()
        if listing is None:
            return EngineExit(error=self._silent())
        try:
            name = self._engine_name(launch.request, listing)
            self._check_name(launch.request, name, listing)
            self._check(launch.request, name, launch.devices, launch.request.tensor_parallel)
        except (NotOffered, MalformedRequest) as refusal:  # the server was down when the load was checked
            return EngineExit(error=InstanceError(code=refusal.code, message=refusal.message))
        self._names[name] = launch.request.model_id
        return self._engine(name, launch.log, load=True)

    async def recover(self, record: Record, log: Path) -> SharedEngine | None:
        listing = await self._look()
        if listing is None:
            return None
        name = record.handle.engine_model or self._engine_name_or_none(record.request, listing)
        if name is None or listing.states.get(name, "unloaded") == "unloaded":
            return None
        if record.handle.pid and self._process != (record.handle.pid, record.handle.start_ticks):
            return None
        self._names[name] = record.model_id
        return self._engine(name, log, load=False)

    async def restart(self) -> None:
        if self._unit is None:
            raise NotManaged(f"harness '{self.name}' has no `systemd_unit`: restart its server where it runs")
        try:
            await self._unit.restart()
        finally:  # also when it does not come up, it is another process from here on
            self._process, self._info = (0, 0), None
        await self._look()

    def _engine(self, name: str, log: Path, *, load: bool) -> SharedEngine:
        """Return an engine that is led; nothing is awaited in here, so none is ever lost."""
        pid, ticks = self._process
        child: Child | None = attach(pid, ticks) if pid else None
        handle = Handle(
            pid=pid,
            start_ticks=ticks,
            port=urlsplit(self._url).port or 80,
            url=self._url,
            engine_model=name,
            is_shared=True,
        )
        scribe = None if self._unit is None else self._unit.unit.follow(log)
        engine = SharedEngine(self._server, handle, child, self._pace, scribe)
        engine.begin(load=load)
        return engine

    def _engine_name(self, request: LoadRequest, listing: Listing) -> str:
        """Return the server's own name of a model: its id, or its ``source``. Raises: NotOffered with what there is."""
        name = self._engine_name_or_none(request, listing)
        if name is not None:
            return name
        there = ", ".join(sorted(listing.states)) or "nothing"
        raise NotOffered(
            f"the server at {self._url} does not offer '{request.source or request.model_id}'; it offers: {there}. "
            "What it offers is decided when it is started",
            models=sorted(listing.states),
        )

    def _engine_name_or_none(self, request: LoadRequest, listing: Listing) -> str | None:
        name = request.source or request.model_id
        return name if name in listing.states else None

    def _check_name(self, request: LoadRequest, name: str, listing: Listing) -> None:
        """Raise NotOffered for a model that is in the server under another name here: it would be there twice."""
        known = self._names.get(name, request.model_id)
        if known != request.model_id and listing.states[name] != "unloaded":
            raise NotOffered(f"the server at {self._url} has '{name}' as {known}: unload that first", models=[known])

    def _check(self, request: LoadRequest, name: str, devices: tuple[Device, ...], count: int | None) -> None:
        """Raise MalformedRequest or NotOffered for what the running server has decided otherwise."""
        given = [field for field in NOT_FOR_SHARED if getattr(request, field)]
        if given:
            raise MalformedRequest(
                f"{', '.join(given)}: the server at {self._url} is shared and has its own; "
                'a harness entry with `mode = "per_model"` takes them',
                field=given[0],
            )
        mine = [device.index for device in self._devices()]
        if devices and {device.index for device in devices} != set(mine):
            wanted = [device.index for device in devices]
            raise NotOffered(f"the server at {self._url} uses devices {mine}, not {wanted}", devices=mine)
        if count is not None and count != len(mine):
            raise NotOffered(f"the server at {self._url} uses {len(mine)} devices ({mine}), not {count}", devices=mine)
        quant = self._served.quant_of(name)
        if request.quant is not None and quant is not None and not self._served.is_quant(name, request.quant):
            raise NotOffered(f"the server at {self._url} serves {name} in {quant}, not in {request.quant}", quant=quant)

    def _devices(self) -> tuple[Device, ...]:
        """Return the devices that the server uses, as far as it is known: else all that it would use."""
        if self._info is not None:
            return devices_of(self._info, self._site.devices, self._visible)
        gpus = tuple(device for device in self._site.devices if device.kind == "cuda")
        return gpus or tuple(device for device in self._site.devices if device.kind == "cpu")

    async def _look(self) -> Listing | None:
        """Return what the server lists now; a process that is new is looked at as a whole."""
        listing = await self._server.listing()
        if listing is None:
            if self._unit is None:  # it may be another process when it answers again
                self._info = None
            return None
        self._listing = listing
        if self._info is None or not may_run(self._process):
            await self._look_at_process()
        counts = await self._server.counts()
        if counts is not None:  # one that is too busy to say so counts all the same
            self._counts = counts
        return listing

    async def _look_at_process(self) -> None:
        state = await self._unit.unit.state() if self._unit else None
        process = identity(state.main_pid) if state else (0, 0)
        if not process[0]:
            process = await asyncio.to_thread(listener_at, self._url)
        if process != self._process or self._info is None:
            self._server.begin_anew()
            self._process = process
            self._info = await self._server.info()
            self._served = await asyncio.to_thread(served_by, process[0])
            said = {**(state.environment if state else {}), **self._entry.env}.get(VISIBLE)
            self._visible = said if self._served.visible is None else self._served.visible

    def _server_unit(self, name: str) -> ServerUnit:
        package = f" (package {self._entry.package})" if self._entry.package else ""
        return ServerUnit(
            SystemdUnit(name, self._site.env),
            self._url,
            self._server.is_healthy,
            UP_LIMIT_S,
            remedy=f": is mistral.rs{package} installed?",
            sleep=self._pace.sleep,
        )

    async def _bring_up(self) -> InstanceError | None:
        """Start the server unless it answers; return why it does not come up."""
        if self._unit is not None:
            return await self._unit.bring_up()
        return None if await self._server.is_healthy() else self._silent()

    async def _journal(self) -> tuple[str, ...]:
        return () if self._unit is None else await self._unit.unit.journal()

    def _silent(self) -> InstanceError:
        return InstanceError(code="server_silent", message=f"the server at {self._url} does not answer")

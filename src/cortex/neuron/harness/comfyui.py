"""ComfyUI: a server that runs by itself, whose checkpoints are models. It speaks no OpenAI: each has a server of ours.

That server (``neuron/images``) is the process of an instance: fenced, found again after a restart. The memory is
ComfyUI's, which takes a checkpoint in at its first image and frees it when it is told to after the unload. It computes
on one device of its own choice; a load that names another one is told in ``GET /models`` where it is.
"""

import asyncio
import sys
from pathlib import Path

import msgspec

from cortex.contract.error import ConfigError, CortexError, MalformedRequest, UpstreamError
from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.harness.interface import (
    Activity,
    Capabilities,
    Engine,
    EngineExit,
    Launch,
    ListedModel,
    Prepared,
    Site,
)
from cortex.neuron.images.checkpoint import chosen_checkpoint
from cortex.neuron.images.comfy import client_id_of
from cortex.neuron.images.comfy_server import ComfyServer
from cortex.neuron.images.engine import ComfyEngine
from cortex.neuron.images.footprint import estimate_mb
from cortex.neuron.images.program import VARIABLE
from cortex.neuron.images.server import ImagesSettings
from cortex.neuron.images.workflow import Workflow, places, read_workflow
from cortex.neuron.process_engine import EngineKind, PathQuestions, ProcessEngine, not_started
from cortex.neuron.process_host import Command, ProcessHost
from cortex.neuron.refusal import NoSuchDevice, NotManaged
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Record

PROGRAM = (sys.executable, "-P", "-m", "cortex.neuron.images")
NOT_TAKEN = ("quant", "args", "context", "mmproj")


class ComfyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What ``prepare`` found out for ``start``. ``checkpoint``: empty where the workflow names its models itself."""

    checkpoint: str
    workflow: Workflow


class ComfyUiHarness:
    """One entry of kind ``comfyui``."""

    def __init__(self, entry: HarnessEntry, site: Site) -> None:
        """Raises: ConfigError when the entry has no endpoint."""
        if entry.endpoint is None:
            raise ConfigError(f"harnesses: '{entry.name}' of kind {entry.kind} needs `endpoint`, ComfyUI's base URL")
        self.name = entry.name
        self.kind = entry.kind
        self.capabilities = Capabilities(
            process_model="shared",
            is_fenced=True,
            reports_in_flight=True,
            can_restart=entry.systemd_unit is not None,
        )
        self._site = site
        self._processes = ProcessHost(entry, site, KIND)
        self._server = ComfyServer(entry, entry.endpoint.removesuffix("/v1"), site)
        self._comfy = self._server.comfy

    @property
    def device_kinds(self) -> frozenset[DeviceKind]:
        return self._server.kinds

    async def probe(self) -> HarnessDetail:
        stats, unit = await self._server.look(), self._server.unit
        # One that does not answer may come later, unless it cannot even be started.
        why_not = await unit.why_it_cannot_start() if unit and stats is None else None
        version = stats.version if stats else None
        return HarnessDetail(
            name=self.name, kind=self.kind, usable=why_not is None, why_not=why_not, version=version, spread="none"
        )

    async def listed(self) -> tuple[ListedModel, ...] | None:
        if await self._server.look() is None:
            return None
        try:
            names = await self._comfy.checkpoints()
        except UpstreamError:
            return None
        # What it has in memory it does not say, and it reads whatever a workflow names.
        return tuple(ListedModel(id=n, url=self._comfy.url, engine_model=n, status="unloaded") for n in names)

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        given = [field for field in NOT_TAKEN if getattr(request, field)]
        if given:
            raise MalformedRequest(f"{', '.join(given)}: ComfyUI takes a checkpoint as it is", field=given[0])
        if len(devices) > 1 or (request.tensor_parallel or 1) > 1:
            raise MalformedRequest("devices, tensor_parallel: ComfyUI has a model on one device", field="devices")
        try:
            workflow = await asyncio.to_thread(read_workflow, request.images_workflow)
        except ValueError as error:
            raise MalformedRequest(f"images_workflow: {error}", field="images_workflow") from None
        is_down = await self._server.look() is None
        # One that is down and can be started is asked when it is up.
        checkpoint = "" if is_down and self._server.unit else await self._checkpoint(request, workflow)
        need_mb = request.vram_mb
        if need_mb is None:
            need_mb = await estimate_mb(self._comfy, workflow, checkpoint)
        return Prepared(
            need_mb=need_mb,
            is_estimate=request.vram_mb is None,
            parallel=request.parallel or 1,
            plan=ComfyPlan(checkpoint=checkpoint, workflow=workflow),
            devices=(self._device(devices).index,),
        )

    async def start(self, launch: Launch) -> Engine | EngineExit:
        plan = launch.prepared.plan
        assert isinstance(plan, ComfyPlan)
        if self._server.unit is not None:
            failure = await self._server.unit.bring_up()
            if failure is not None:
                return EngineExit(error=failure)
        try:
            checkpoint = plan.checkpoint or await self._checkpoint(launch.request, plan.workflow)
        except CortexError as error:
            return not_started(error.code, error.message, launch.log)
        device = self._server.device
        if device is not None and device.index not in [placed.index for placed in launch.devices]:
            words = (
                f"ComfyUI has come up on device {device.index} ({device.name}), where no room is reserved: try again"
            )
            return not_started("other_device", words, launch.log)
        plan = msgspec.structs.replace(plan, checkpoint=checkpoint)
        started = self._processes.start(launch, lambda port: self._command(launch, plan, port))
        if isinstance(started, EngineExit):
            return started
        return self._engine(started, launch.nonce)

    async def recover(self, record: Record, log: Path) -> Engine | None:
        found = self._processes.recover(record, log)
        return None if found is None else self._engine(found, record.nonce)

    async def restart(self) -> None:
        unit = self._server.unit
        if unit is None:
            raise NotManaged(f"harness '{self.name}' has no `systemd_unit`: restart ComfyUI where it runs")
        await unit.restart()

    async def _checkpoint(self, request: LoadRequest, workflow: Workflow) -> str:
        """Return the file for the workflow; nothing where it has no place for one. Raises: SourceMissing."""
        if "CHECKPOINT" not in places(workflow):
            return ""
        return chosen_checkpoint(request, await self._comfy.checkpoints())

    def _engine(self, process: ProcessEngine, nonce: str) -> ComfyEngine:
        return ComfyEngine(process, self._comfy, client_id_of(nonce), lambda: self._server.pid)

    def _device(self, asked: tuple[Device, ...]) -> Device:
        """Return the device that a model will be on, which ComfyUI decides, whatever was asked for.

        While it was never seen, what was asked for is as good as any. Raises: NoSuchDevice.
        """
        usable = [device for device in self._site.devices if device.kind in self.device_kinds]
        found = self._server.device or next(iter((*asked, *usable)), None)
        if found is None:
            kinds = ", ".join(sorted(self.device_kinds))
            raise NoSuchDevice(f"ComfyUI computes on {kinds}, and this node has no such device")
        return found

    def _command(self, launch: Launch, plan: ComfyPlan, port: int) -> Command:
        settings = ImagesSettings(
            host=self._site.bind_host,
            port=port,
            nonce=launch.nonce,
            model=launch.request.model_id,
            comfy=self._comfy.url,
            checkpoint=plan.checkpoint,
            workflow=plan.workflow,
        )
        return Command(
            PROGRAM,
            engine_model=settings.model,
            prefix=settings.prefix,
            env={VARIABLE: msgspec.json.encode(settings).decode()},
        )


def _activity_in(text: str) -> Activity:
    """Raises: ValueError."""
    try:
        return msgspec.json.decode(text, type=Activity)
    except NOT_JSON as error:
        raise ValueError(str(error)) from None


KIND = EngineKind("the images server", PathQuestions("/health", "/activity", _activity_in))

"""ComfyUI: a server that runs by itself, whose checkpoints are models. It speaks no OpenAI: each has a server of ours.

That server (``neuron/images``) is the process of an instance: fenced, found again after a restart. The memory is
ComfyUI's, which takes a checkpoint in at its first image and frees it when it is told to after the unload.
"""

import asyncio
import sys
from pathlib import Path

import msgspec

from cortex.contract.error import ConfigError, MalformedRequest, UpstreamError
from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
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
from cortex.neuron.images.comfy import Comfy, client_id_of
from cortex.neuron.images.engine import ComfyEngine
from cortex.neuron.images.program import VARIABLE
from cortex.neuron.images.server import ImagesSettings
from cortex.neuron.images.workflow import Workflow, places, read_workflow
from cortex.neuron.process_engine import EngineKind, PathQuestions
from cortex.neuron.process_host import Command, ProcessHost
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Record

PROGRAM = (sys.executable, "-P", "-m", "cortex.neuron.images")
NEED_MB = 8192
"""What an SDXL checkpoint and one image of 1024x1024 take, where nobody says better."""
NOT_TAKEN = ("quant", "args", "context", "mmproj")
_KINDS: dict[str, frozenset[DeviceKind]] = {
    "cpu": frozenset({"cpu"}),
    "cuda": frozenset({"cuda", "mig", "rocm"}),
    "xpu": frozenset({"xpu"}),
}
"""By what PyTorch calls them."""


class ComfyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What ``prepare`` found out for ``start``. ``checkpoint``: empty where the workflow names its models itself."""

    checkpoint: str
    workflow: Workflow


class ComfyUiHarness:
    """One entry of kind ``comfyui``."""

    capabilities = Capabilities(process_model="per_model", is_fenced=True, reports_in_flight=True)

    def __init__(self, entry: HarnessEntry, site: Site) -> None:
        """Raises: ConfigError when the entry has no endpoint."""
        if entry.endpoint is None:
            raise ConfigError(f"harnesses: '{entry.name}' of kind {entry.kind} needs `endpoint`, ComfyUI's base URL")
        self.name = entry.name
        self.kind = entry.kind
        self.device_kinds: frozenset[DeviceKind] = site.gpu_kinds or frozenset({"cpu"})
        self._site = site
        self._processes = ProcessHost(entry, site, KIND)
        self._comfy = Comfy(entry.endpoint.removesuffix("/v1"), site.http)

    async def probe(self) -> HarnessDetail:
        detail = HarnessDetail(name=self.name, kind=self.kind, usable=True)
        try:
            stats = await self._comfy.stats()
        except UpstreamError:  # it may come later; a load then says that it does not answer
            return detail
        self.device_kinds = _KINDS.get(stats.memory.type, self.device_kinds)
        return msgspec.structs.replace(detail, version=stats.system.get("comfyui_version"))

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        given = [field for field in NOT_TAKEN if getattr(request, field)]
        if given:
            raise MalformedRequest(f"{', '.join(given)}: ComfyUI takes a checkpoint as it is", field=given[0])
        if len(devices) > 1:
            raise MalformedRequest("devices: ComfyUI has a model on one device", field="devices")
        try:
            workflow = await asyncio.to_thread(read_workflow, request.images_workflow)
        except ValueError as error:
            raise MalformedRequest(f"images_workflow: {error}", field="images_workflow") from None
        checkpoint = ""
        if "CHECKPOINT" in places(workflow):
            checkpoint = chosen_checkpoint(request, await self._comfy.checkpoints())
        return Prepared(
            need_mb=NEED_MB if request.vram_mb is None else request.vram_mb,
            is_estimate=request.vram_mb is None,
            parallel=request.parallel or 1,
            plan=ComfyPlan(checkpoint=checkpoint, workflow=workflow),
        )

    async def start(self, launch: Launch) -> Engine | EngineExit:
        plan = launch.prepared.plan
        assert isinstance(plan, ComfyPlan)
        started = self._processes.start(launch, lambda port: self._command(launch, plan, port))
        if isinstance(started, EngineExit):
            return started
        return ComfyEngine(started, self._comfy, client_id_of(launch.nonce))

    async def recover(self, record: Record, log: Path) -> Engine | None:
        found = self._processes.recover(record, log)
        return None if found is None else ComfyEngine(found, self._comfy, client_id_of(record.nonce))

    async def listed(self) -> tuple[ListedModel, ...]:
        return ()

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
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


KIND = EngineKind("the images server", PathQuestions("/health", "/activity", _activity_in))

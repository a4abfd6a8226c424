"""Harness ``mistralrs``, mode ``per_model``: one ``mistralrs serve`` process per model, with its own port and GPUs.

A process ends with its memory, so nothing of what goes wrong in a shared server goes wrong here. It listens when its
model is loaded, and not before; it has no fence, since it asks for no key and serves under no path of ours.
"""

import asyncio
import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from cortex.contract.error import MalformedRequest
from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
from cortex.neuron.command_check import check_args
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
from cortex.neuron.mistralrs.command_line import (
    REQUIRED_FLAGS,
    TUNING,
    Serve,
    Weights,
    can_limit,
    command_line,
    isq_of,
    known_flags,
    loaded_mb,
    own_flags,
    weights_of_file,
)
from cortex.neuron.mistralrs.installed import BARE_NAME, find_installed, find_program
from cortex.neuron.mistralrs.wire import activity_in, listing_in
from cortex.neuron.model_file.checkpoint import estimate_checkpoint_mb
from cortex.neuron.model_file.finder import find_by_id, find_file
from cortex.neuron.model_file.footprint import MIB, weights_bytes
from cortex.neuron.process.answer import answer
from cortex.neuron.process_engine import Ask, EngineKind
from cortex.neuron.process_host import Command, ProcessHost
from cortex.neuron.refusal import SourceMissing
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Handle, Record

log = logging.getLogger(__name__)

DEFAULT_PARALLEL = 8
NO_NCCL = "MISTRALRS_NO_NCCL"
"""Its tensor-parallel workers meet under one fixed name per network namespace: two such processes would clash. Without
it a model is split over the GPUs by layers; the entry's ``env`` may say otherwise."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class ModelQuestions(NamedTuple):
    """How a process is asked: it serves when its list says that our model is loaded."""

    async def is_serving(self, ask: Ask, handle: Handle) -> bool:
        """Tell whether the process is the one that is meant, and its model is there."""
        reply = await ask("/v1/models")
        listing = listing_in(reply.body) if reply is not None and reply.status == 200 else None
        return listing is not None and listing.states.get(handle.engine_model) == "loaded"

    async def context(self, ask: Ask, handle: Handle) -> int | None:
        """It does not say; what it was asked for is known."""
        return None

    async def activity(self, ask: Ask) -> Activity | None:
        """Return the requests in it: all that name a model."""
        reply = await ask("/metrics")
        return activity_in(reply.body.decode(errors="replace")) if reply and reply.status == 200 else None


class MistralRsPerModel:
    """One entry of kind ``mistralrs`` whose models have a process each."""

    capabilities = Capabilities(process_model="per_model", is_fenced=False, reports_in_flight=True)

    def __init__(self, entry: HarnessEntry, site: Site) -> None:
        self.name = entry.name
        self.kind = entry.kind
        self._entry = entry
        self._site = site
        self._processes = ProcessHost(entry, site, EngineKind(BARE_NAME, ModelQuestions()))
        self._program: str | None = None
        self._flags: frozenset[str] = frozenset()

    @property
    def device_kinds(self) -> frozenset[DeviceKind]:
        return self._site.gpu_kinds & {"cuda", "mig"} or frozenset({"cpu"})

    async def probe(self) -> HarnessDetail:
        detail = HarnessDetail(name=self.name, kind=self.kind, usable=False, spread="layers")
        env = self._processes.env
        self._program = find_program(self._entry, env)
        if self._program is None:
            package = f" (package {self._entry.package})" if self._entry.package else ""
            return msgspec.structs.replace(
                detail, why_not=f"binary {self._entry.binary or BARE_NAME}: there is no such program{package}"
            )
        installed, said = await asyncio.gather(
            find_installed(self._entry, env), answer([self._program, "serve", "--help"], env)
        )
        detail = msgspec.structs.replace(
            detail, version=installed.version, engine_cuda=installed.cuda, engine_capability=installed.capability
        )
        self._flags = known_flags(said.text)
        if not self._flags >= REQUIRED_FLAGS:
            why = f"{self._program} has no `serve` as it is known here: it is too old or too new, or no mistralrs"
            return msgspec.structs.replace(detail, why_not=why)
        if "cpu" not in self.device_kinds and not can_limit(self._flags):
            log.warning("harness %s: this mistralrs lets nobody limit its cache; it takes what is free", self.name)
        return msgspec.structs.replace(detail, usable=True)

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        _check_words(request)
        taken = own_flags((*self._entry.args, *request.args))
        if taken:
            raise MalformedRequest(f"args: {', '.join(taken)} cannot be given, the neuron sets it itself", field="args")
        check_args(request.args, TUNING | frozenset(self._entry.allow_args), self.name)
        weights = await asyncio.to_thread(self._weights, request)
        gpus = sum(device.kind != "cpu" for device in devices)
        parallel = request.parallel or DEFAULT_PARALLEL
        need_mb = request.vram_mb
        if need_mb is None:
            need_mb = await asyncio.to_thread(_estimated_mb, weights, request, parallel, gpus)
        return Prepared(need_mb=need_mb, is_estimate=request.vram_mb is None, parallel=parallel, plan=weights)

    async def start(self, launch: Launch) -> Engine | EngineExit:
        return self._processes.start(launch, lambda port: self._command(launch, port))

    async def recover(self, record: Record, log_file: Path) -> Engine | None:
        return self._processes.recover(record, log_file)

    async def listed(self) -> tuple[ListedModel, ...]:
        return ()

    def _weights(self, request: LoadRequest) -> Weights:
        """Return what the process is told to serve. Raises: CallerError."""
        path, repository, file = self._find(request)
        if path is not None and path.is_file():
            model, file = weights_of_file(path)
        else:
            model = str(path) if path is not None else repository
        if request.mmproj is not None and "--mmproj" not in self._flags:
            raise MalformedRequest("mmproj: this mistralrs has no flag for it", field="mmproj")
        mmproj = None if request.mmproj is None else str(find_file(request.mmproj, "mmproj"))
        size_mb = None if path is None else _size_mb(path)
        if file is not None or request.quant is None:
            return Weights(model=model, file=file, mmproj=mmproj, size_mb=size_mb)
        try:
            isq = isq_of(request.quant)
        except ValueError as error:
            raise MalformedRequest(f"quant: {error}", field="quant") from None
        taken_mb = None if size_mb is None else loaded_mb(size_mb, isq)
        return Weights(model=model, isq=isq, mmproj=mmproj, size_mb=taken_mb)

    def _find(self, request: LoadRequest) -> tuple[Path | None, str, str | None]:
        """Return a path on this node, or else a repository of Hugging Face's with perhaps a file in it."""
        source = request.source
        if source is None:
            return self._below(request), _repository(request.model_id), None
        if source.startswith("hf:"):
            repository, _, file = source.removeprefix("hf:").partition(":")
            return None, _repository(repository), file or None
        path = Path(source).expanduser()
        if not path.is_absolute() or not os.path.exists(path):
            raise SourceMissing(
                f"source '{source}': no such file or folder on this node; give an absolute path, or hf:<repo>[:<file>]",
                source=source,
            )
        return path, "", None

    def _below(self, request: LoadRequest) -> Path | None:
        """Return the folder or GGUF file of a model below a model directory, if there is one."""
        for folder in self._site.model_dirs:
            if os.path.isfile(Path(folder) / request.model_id / "config.json"):
                return Path(folder) / request.model_id
        try:
            return find_by_id(request.model_id, request.quant, self._site.model_dirs)
        except SourceMissing:
            return None

    def _command(self, launch: Launch, port: int) -> Command:
        weights = launch.prepared.plan
        assert isinstance(weights, Weights)
        assert self._program is not None
        count = max(1, len(launch.devices))
        serve = Serve(
            weights=msgspec.structs.replace(
                weights, size_mb=None if weights.size_mb is None else -(-weights.size_mb // count)
            ),
            host=self._site.bind_host,
            port=port,
            parallel=launch.prepared.parallel,
            context=launch.request.context,
            share_mb=-(-launch.prepared.need_mb // count),
            fraction=_fraction(launch),
            args=(*self._entry.args, *launch.request.args),
        )
        argv = (self._program, *command_line(serve, launch.devices, self._flags))
        env = {} if NO_NCCL in self._entry.env else {NO_NCCL: "1"}
        return Command(argv, engine_model=weights.model, env=env)


def _check_words(request: LoadRequest) -> None:
    """Raise MalformedRequest for words that a program cannot be given, or would take for a flag."""
    for field in ("model_id", "source", "mmproj"):
        text = getattr(request, field)
        if text is not None and ("\0" in text or text.startswith("-")):
            raise MalformedRequest(f"{field}: expected words that do not begin with a dash, got {text!r}", field=field)


def _repository(name: str) -> str:
    if not _REPOSITORY.fullmatch(name):
        raise SourceMissing(
            f"'{name}' is no repository of Hugging Face: give `source`, an absolute path or hf:<owner>/<name>",
            source=name,
        )
    return name


def _size_mb(path: Path) -> int:
    if path.is_file():
        return -(-weights_bytes(path) // MIB)
    return -(-sum(file.stat().st_size for file in path.glob("*.safetensors")) // MIB)


def _estimated_mb(weights: Weights, request: LoadRequest, parallel: int, gpus: int) -> int:
    found: int | None = None
    path = Path(weights.model) / (weights.file or "")
    if path.is_absolute():
        try:
            found = estimate_checkpoint_mb(path, context=request.context, parallel=parallel, gpus=gpus)
        except OSError as error:
            raise SourceMissing(f"source '{path}': cannot be read: {error.strerror}", source=str(path)) from None
    if found is None:
        raise MalformedRequest(
            f"vram_mb: say what {request.model_id} needs, in MiB over all its devices; it can only be estimated "
            "from files on this node",
            field="vram_mb",
        )
    saved_mb = 0 if weights.size_mb is None or path.is_file() else _size_mb(path) - weights.size_mb
    return found - saved_mb


def _fraction(launch: Launch) -> float | None:
    """Return the share of each device as a part of its whole memory; where they differ, of the largest."""
    if not launch.devices or any(device.kind == "cpu" for device in launch.devices):
        return None
    share_mb = launch.prepared.need_mb / len(launch.devices)
    return min(0.99, share_mb / max(device.vram_total_mb for device in launch.devices))

"""llama.cpp: one ``llama-server`` process per model, an installed one or the embedded one.

``llama_server.py`` knows its command line. It answers 503 while loading, does not drain on SIGTERM, says why it ended
only in its log, and is fenced by ``--api-prefix`` (measured with build 11549, 2026-11).
"""

import asyncio
import importlib.metadata
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import msgspec

from cortex.contract.error import ConfigError, MalformedRequest
from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
from cortex.neuron.harness.interface import (
    Capabilities,
    Engine,
    EngineExit,
    Launch,
    ListedModel,
    Prepared,
    Site,
)
from cortex.neuron.llama_argument import check_args, own_flags
from cortex.neuron.llama_server import (
    REQUIRED_FLAGS,
    Serve,
    activity_in,
    alias_of,
    command_line,
    known_flags,
    usable_kinds,
    version_in,
)
from cortex.neuron.model_file.finder import find_by_id, find_file
from cortex.neuron.model_file.footprint import MIB, estimate_mb, weights_bytes
from cortex.neuron.model_file.gguf_header import GgufHeader, read_header
from cortex.neuron.model_file.hub import FetchFailed, HubFile, fetch, find_remote
from cortex.neuron.process.answer import answer
from cortex.neuron.process_engine import EngineKind, PathQuestions, not_started
from cortex.neuron.process_host import Command, ProcessHost
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Record

BARE_NAME = "llama-server"
EMBEDDED = (sys.executable, "-P", "-m", "cortex.neuron.embedded")
DEFAULT_PARALLEL = 4
DEFAULT_CONTEXT_TOKENS = 32768
"""Largest cache when no context is asked for: enough for coding agents, affordable on most devices."""
KIND = EngineKind(BARE_NAME, PathQuestions("/health", "/metrics", activity_in))
ASK_DEADLINE_S = 30.0
"""For ``--version``, ``--help``, ``--list-devices``: a first CUDA start can take many seconds."""

LocalOrRemote = Path | HubFile


class LlamaPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What ``prepare`` found out for ``start``."""

    model: LocalOrRemote
    mmproj: LocalOrRemote | None
    context_tokens: int
    is_pool: bool


class LlamaCppHarness:
    """One entry of kind ``llamacpp``."""

    capabilities = Capabilities(process_model="per_model", is_fenced=True, reports_in_flight=True)

    def __init__(self, entry: HarnessEntry, site: Site) -> None:
        """Raises: ConfigError for arguments that only the neuron may set."""
        taken = own_flags(entry.args)
        if taken:
            where = f"harnesses: '{entry.name}' of kind {entry.kind}"
            raise ConfigError(f"{where}: args: {', '.join(taken)} cannot be given, the neuron sets it itself")
        self.name = entry.name
        self.kind = entry.kind
        self.device_kinds: frozenset[DeviceKind] = frozenset({"cpu"})
        self._entry = entry
        self._site = site
        self._processes = ProcessHost(entry, site, KIND)
        self._env = self._processes.env
        self._program: tuple[str, ...] = ()
        self._flags: frozenset[str] | None = None

    @property
    def _is_embedded(self) -> bool:
        return self._program == EMBEDDED

    async def probe(self) -> HarnessDetail:
        detail = HarnessDetail(name=self.name, kind=self.kind, usable=False, spread="layers")
        found = self._find_program()
        if isinstance(found, str):
            return msgspec.structs.replace(detail, why_not=found)
        self._program = found
        if self._site.gpu_kinds:
            kinds = usable_kinds(await self._ask("--list-devices"))
            self.device_kinds = self.device_kinds | (kinds & self._site.gpu_kinds)
        if self._is_embedded:
            self._flags = None
            version = importlib.metadata.version("xllamacpp")
            return msgspec.structs.replace(detail, usable=True, version=f"embedded (xllamacpp {version})")
        said, help_text = await asyncio.gather(self._ask("--version"), self._ask("--help"))
        self._flags = known_flags(help_text)
        missing = [flag for flag in REQUIRED_FLAGS if flag not in self._flags]
        if missing:
            why = f"{found[0]} does not know {', '.join(missing)}: it is too old, or no llama-server"
            return msgspec.structs.replace(detail, why_not=why)
        return msgspec.structs.replace(detail, usable=True, version=version_in(said))

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        if len({device.kind for device in devices}) > 1:
            raise MalformedRequest("devices of different kinds cannot hold one model together")
        if any("\0" in word for word in (request.source or "", request.mmproj or "", *request.args)):
            raise MalformedRequest(
                "source, mmproj, args: expected words that a program can be given, without zero bytes"
            )
        check_args(request.args, self._entry.allow_args, self._site.model_dirs)
        model, mmproj = await self._find_files(request)
        header = await asyncio.to_thread(_header, model)
        parallel = request.parallel or DEFAULT_PARALLEL
        if request.context is None:
            trained = header.number("context_length") if header else 0
            context_tokens = min(trained or DEFAULT_CONTEXT_TOKENS, DEFAULT_CONTEXT_TOKENS)
        else:
            context_tokens = request.context * parallel
        gpus = sum(device.kind != "cpu" for device in devices)
        files_bytes = await asyncio.to_thread(lambda: _size(model) + (_size(mmproj) if mmproj else 0))
        estimate = estimate_mb(files_bytes, header, context_tokens=context_tokens, gpus=gpus)
        return Prepared(
            need_mb=request.vram_mb if request.vram_mb is not None else estimate,
            is_estimate=request.vram_mb is None,
            parallel=parallel,
            context=context_tokens if request.context is None else request.context,
            plan=LlamaPlan(model=model, mmproj=mmproj, context_tokens=context_tokens, is_pool=request.context is None),
        )

    async def start(self, launch: Launch) -> Engine | EngineExit:
        plan = launch.prepared.plan
        assert isinstance(plan, LlamaPlan)
        try:
            model = await self._local(plan.model, launch)
            mmproj = None if plan.mmproj is None else await self._local(plan.mmproj, launch)
        except FetchFailed as error:
            return not_started("fetch_failed", str(error), launch.log)
        return self._processes.start(launch, lambda port: self._command(launch, plan, model, mmproj, port))

    async def recover(self, record: Record, log: Path) -> Engine | None:
        return self._processes.recover(record, log)

    async def listed(self) -> tuple[ListedModel, ...]:
        return ()

    def _command(self, launch: Launch, plan: LlamaPlan, model: Path, mmproj: Path | None, port: int) -> Command:
        serve = Serve(
            model=model,
            mmproj=mmproj,
            alias=alias_of(launch.request.model_id),
            host=self._site.bind_host,
            port=port,
            prefix=f"/i/{launch.nonce}",
            parallel=launch.prepared.parallel,
            context_tokens=plan.context_tokens,
            is_pool=plan.is_pool,
            # Half the cores: hyper-threads do not help, and a gateway and other engines live here too.
            threads=max(1, self._site.cores // 2) if self._is_embedded else None,
            args=(*self._entry.args, *launch.request.args),
        )
        argv = (*self._program, *command_line(serve, launch.devices, self._flags))
        return Command(argv, engine_model=serve.alias, prefix=serve.prefix)

    def _find_program(self) -> tuple[str, ...] | str:
        """Return the program with its first arguments, or why there is none."""
        binary = self._entry.binary or BARE_NAME
        path = Path(binary)
        if path.is_absolute():
            if os.access(path, os.X_OK) and path.is_file():
                return (binary,)
            return f"binary {binary}: no such executable file"
        if path.name != binary:
            return f"binary {binary}: give an absolute path, or a bare name to be looked up on PATH"
        found = shutil.which(binary, path=self._env.get("PATH"))
        if found:
            return (found,)
        if binary != BARE_NAME:
            return f"binary {binary} is not on PATH"
        if importlib.util.find_spec("xllamacpp") is None:
            return f"{binary} is not on PATH, and the embedded engine is not installed (extra `embedded`)"
        return EMBEDDED

    async def _find_files(self, request: LoadRequest) -> tuple[LocalOrRemote, LocalOrRemote | None]:
        if request.source is None:
            model: LocalOrRemote = await asyncio.to_thread(
                find_by_id, request.model_id, request.quant, self._site.model_dirs
            )
        else:
            model = await self._find(request.source, "source", request.quant)
        mmproj = None if request.mmproj is None else await self._find(request.mmproj, "mmproj", None)
        return model, mmproj

    async def _find(self, source: str, what: str, quant: str | None) -> LocalOrRemote:
        if not source.startswith("hf:"):
            return await asyncio.to_thread(find_file, source, what, quant)
        remote = await find_remote(source, quant, self._env)
        return Path(remote.path) if remote.path else remote

    async def _local(self, file: LocalOrRemote, launch: Launch) -> Path:
        if isinstance(file, Path):
            return file

        def note(fraction: float) -> None:
            launch.progress.fraction = fraction

        return await fetch(file, self._env, launch.log, is_tethered=self._site.is_tethered, progress=note)

    async def _ask(self, flag: str) -> str:
        """Return what the program says to a flag, on either stream; nothing when it fails or hangs."""
        said = await answer((*self._program, flag), self._env, ASK_DEADLINE_S)
        return said.text if said.code == 0 else ""


def _header(model: LocalOrRemote) -> GgufHeader | None:
    """Return a local file's header; None for one that is remote or cannot be read (the engine will say why)."""
    try:
        return read_header(model) if isinstance(model, Path) else None
    except OSError:
        return None


def _size(file: LocalOrRemote) -> int:
    if isinstance(file, Path):
        return weights_bytes(file)
    # What the header would tell is unknown before the fetch: a tenth for cache and buffers.
    return file.size_bytes + max(file.size_bytes // 10, 64 * MIB)

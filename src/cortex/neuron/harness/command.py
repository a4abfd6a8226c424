"""Any server that speaks OpenAI's protocol, by the command that starts it: one process per model, without new code.

The entry's ``cmd`` says the command, or its kind has a preset (``command_preset.py``). A fence is a ``${KEY}`` or a
``${PREFIX}`` in it. A server whose metrics are named tells what is in flight; another one is stopped without a drain.
"""

import os
import re
import shutil
import signal
from pathlib import Path

from cortex.contract.error import ConfigError, MalformedRequest
from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail, Spread
from cortex.neuron.command_check import check_args, check_words
from cortex.neuron.command_preset import PRESETS, Preset
from cortex.neuron.command_template import VARIABLES, Template, read_command, unknown_variables
from cortex.neuron.harness.interface import Capabilities, Engine, EngineExit, Launch, ListedModel, Prepared, Site
from cortex.neuron.metric_text import activity_reader
from cortex.neuron.model_file.checkpoint import estimate_checkpoint_mb
from cortex.neuron.model_file.finder import expanded_source, find_file
from cortex.neuron.named_question import NamedQuestions
from cortex.neuron.process.answer import ends_well
from cortex.neuron.process_engine import EngineKind
from cortex.neuron.process_host import Command, ProcessHost
from cortex.neuron.refusal import SourceMissing
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Record

DEFAULT_PARALLEL = 4
METRICS_PATH = "/metrics"
FREE_PART = 0.9
"""Of its share, what a server may fill at its start; the rest is for what it allocates later."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class CommandHarness:
    """One entry of kind ``command``, or of a kind that has a preset."""

    def __init__(self, entry: HarnessEntry, site: Site) -> None:
        """Raises: ConfigError for a command that can never be started."""
        self.name = entry.name
        self.kind = entry.kind
        preset = PRESETS.get(entry.kind)
        self._said = Preset(words=()) if preset is None else preset
        self._template = _template(entry, preset)
        asked = self._template.variables
        in_flight = entry.in_flight_metrics or self._said.in_flight_metrics
        self.capabilities = Capabilities(
            process_model="per_model", is_fenced=bool(asked & {"KEY", "PREFIX"}), reports_in_flight=bool(in_flight)
        )
        self._is_general = preset is None
        self._entry = entry
        self._site = site
        self._parallel = DEFAULT_PARALLEL if preset is None else preset.parallel
        self._allowed = frozenset(self._said.allow_args) | frozenset(entry.allow_args)
        questions = NamedQuestions(
            ready_path=entry.ready_path or self._said.ready_path,
            metrics_path=METRICS_PATH if in_flight else None,
            read=activity_reader(in_flight, entry.work_metrics or self._said.work_metrics) if in_flight else None,
            knows_name="MODEL_ID" in asked,
        )
        grace_s = entry.stop_grace_s if preset is None or entry.stop_grace_s is not None else preset.stop_grace_s
        program = Path(str(self._template.words[0])).name if preset is None else entry.kind
        kind = EngineKind(program, questions, signal.Signals[entry.stop_signal], grace_s)
        self._processes = ProcessHost(entry, site, kind)

    @property
    def device_kinds(self) -> frozenset[DeviceKind]:
        # A build for a GPU runs on no CPU: only a command that does not say what it is may.
        kinds = self._site.gpu_kinds
        return kinds | {"cpu"} if self._is_general or not kinds else kinds

    async def probe(self) -> HarnessDetail:
        why_not = await self._missing()
        spread: Spread | None = None if self._is_general else "tensors"
        return HarnessDetail(name=self.name, kind=self.kind, usable=why_not is None, why_not=why_not, spread=spread)

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        if len({device.kind for device in devices}) > 1:
            raise MalformedRequest("devices of different kinds cannot hold one model together")
        check_words(request, self._template.variables, self.name, self._said.quants)
        check_args(request.args, self._allowed, self.name)
        if request.mmproj is not None:
            find_file(request.mmproj, "mmproj")
        path = self._model_path(request)
        parallel = request.parallel or self._parallel
        need_mb = request.vram_mb
        if need_mb is None:
            need_mb = _estimated_mb(path, request, parallel, devices)
        return Prepared(need_mb=need_mb, is_estimate=request.vram_mb is None, parallel=parallel, plan=path)

    async def start(self, launch: Launch) -> Engine | EngineExit:
        return self._processes.start(launch, lambda port: self._command(launch, port))

    async def recover(self, record: Record, log: Path) -> Engine | None:
        return self._processes.recover(record, log)

    async def listed(self) -> tuple[ListedModel, ...]:
        return ()

    async def _missing(self) -> str | None:
        """Return what is missing on this node; None when the server can be started."""
        program = str(self._template.words[0])
        path = self._processes.env.get("PATH", os.defpath)
        if shutil.which(program, path=path) is None:
            key = "cmd" if self._entry.cmd is not None else "binary"
            return f"{key}: there is no program {program}"
        check = self._said.check if self._entry.cmd is None else ()
        if check and not await ends_well((program, *check), self._processes.env):
            return f"{program} has no {self.kind}: name the `binary` of an environment that has it"
        return None

    def _model_path(self, request: LoadRequest) -> str:
        """Return what the server is told to serve: a path, or the name of a repository. Raises: SourceMissing."""
        source = request.source
        if source is None:
            return _below(self._site.model_dirs, request.model_id) or _repository(request.model_id, "source")
        if source.startswith("hf:"):
            return _repository(source.removeprefix("hf:"), "source")
        path = expanded_source(source)
        if not path.is_absolute():
            raise SourceMissing(f"source '{source}': give an absolute path, or hf:<repo>", source=source)
        if not os.path.exists(path):
            raise SourceMissing(f"source '{source}': no such file or folder on this node", source=source)
        return str(path)

    def _command(self, launch: Launch, port: int) -> Command:
        asked = self._template.variables
        key = os.urandom(16).hex() if "KEY" in asked else None
        prefix = f"/i/{launch.nonce}" if "PREFIX" in asked else ""
        values = {**_values(launch), "HOST": self._site.bind_host, "PORT": str(port), "PREFIX": prefix}
        words, env = self._template.fill(values if key is None else {**values, "KEY": key})
        argv = (*words, *self._entry.args, *launch.request.args)
        return Command(argv, engine_model=launch.request.model_id, prefix=prefix, credential=key, env=env)


def _template(entry: HarnessEntry, preset: Preset | None) -> Template:
    """Return the command of an entry. Raises: ConfigError."""
    where = f"harnesses: '{entry.name}' of kind {entry.kind}"
    if preset is not None and entry.cmd is None:
        words = (entry.binary or str(preset.words[0]), *preset.words[1:])
        return _known(Template(words, {**preset.env, **entry.env}), where)
    if entry.cmd is None:
        raise ConfigError(f"{where} needs `cmd`: the program and its arguments, with ${{PORT}} in them")
    try:
        words = read_command(entry.cmd)
    except ValueError as error:
        raise ConfigError(f"{where}: cmd: {error}") from None
    template = _known(Template(words, {**(preset.env if preset else {}), **entry.env}), where)
    if "PORT" not in template.needed():
        raise ConfigError(f"{where}: cmd: expected ${{PORT}} in it, the neuron chooses the port")
    return template


def _known(template: Template, where: str) -> Template:
    unknown = unknown_variables(template)
    if unknown:
        known = ", ".join(f"${{{name}}}" for name in VARIABLES)
        raise ConfigError(f"{where}: cmd, env: there is no ${{{unknown[0]}}}; there are {known}")
    return template


def _values(launch: Launch) -> dict[str, str]:
    request, prepared = launch.request, launch.prepared
    values = {
        "MODEL_PATH": str(prepared.plan),
        "MODEL_ID": request.model_id,
        "DEVICES": ",".join(map(str, launch.ordinals)),
        "DEVICE_COUNT": str(max(1, len(launch.devices))),
        "PARALLEL": str(prepared.parallel),
        "VRAM_MB": str(prepared.need_mb),
    }
    said = {"CONTEXT": request.context, "QUANT": request.quant, "MMPROJ": request.mmproj}
    values |= {name: str(value) for name, value in said.items() if value is not None}
    return values | _fractions(launch)


def _fractions(launch: Launch) -> dict[str, str]:
    """Return the share of a GPU as its whole memory, and as what is free of it now, in a way that none gets more."""
    if not launch.devices or any(device.kind == "cpu" for device in launch.devices):
        return {}
    share_mb = launch.prepared.need_mb / len(launch.devices)
    totals = [device.vram_total_mb for device in launch.devices]
    known = launch.free_mb or (None,) * len(totals)
    free = [total if mb is None else mb for total, mb in zip(totals, known, strict=True)]
    return {
        "MEMORY_FRACTION": _fraction(share_mb, max(totals)),
        "FREE_MEMORY_FRACTION": _fraction(FREE_PART * share_mb, min(free)),
    }


def _fraction(part_mb: float, whole_mb: int) -> str:
    """Return a fraction of three digits, rounded down, that a server takes: above 0, below 1."""
    thousandths = int(1000 * part_mb / whole_mb) if whole_mb > 0 else 1000
    return f"{min(990, max(1, thousandths)) / 1000:g}"


def _below(model_dirs: tuple[str, ...], model_id: str) -> str | None:
    """Return the folder or file that has a model's id for its path below a model directory."""
    if not _REPOSITORY.fullmatch(model_id):
        return None
    found = (Path(folder) / model_id for folder in model_dirs)
    return next((str(path) for path in found if os.path.exists(path)), None)


def _repository(name: str, field: str) -> str:
    if not _REPOSITORY.fullmatch(name):
        raise SourceMissing(
            f"{field}: '{name}' is no repository of Hugging Face: give an absolute path, or hf:<owner>/<name>",
            source=name,
        )
    return name


def _estimated_mb(path: str, request: LoadRequest, parallel: int, devices: tuple[Device, ...]) -> int:
    gpus = sum(device.kind != "cpu" for device in devices)
    found: int | None = None
    if Path(path).is_absolute():
        try:
            found = estimate_checkpoint_mb(Path(path), context=request.context, parallel=parallel, gpus=gpus)
        except OSError as error:
            raise SourceMissing(f"source '{path}': cannot be read: {error.strerror}", source=path) from None
    if found is None:
        raise MalformedRequest(
            f"vram_mb: say what {request.model_id} needs, in MiB over all its devices; it can only be estimated "
            "from files on this node",
            field="vram_mb",
        )
    return found

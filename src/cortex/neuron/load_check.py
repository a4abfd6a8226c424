"""What can be said of a load before anything is done: is it well-formed, whose is it, on what devices, is it loaded so.

Every refusal says what is wrong and what would be right. Whether there is memory is ``admission.py``'s matter, whether
the files are there the harness's.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from cortex.contract.error import MalformedRequest
from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, HarnessDetail
from cortex.neuron.harness.interface import Harness, Launch, Prepared
from cortex.neuron.instance import Instance
from cortex.neuron.refusal import HarnessUnusable, LoadedDifferently, NoSuchDevice, UnknownHarness

LONGEST_ID_BYTES = 200
"""As it is written in a file's name; file systems allow 255, and a log's name has more than the id."""

MOST = 1_000_000_000
"""Of anything that a load counts: more MiB than any device has, more seconds than anybody waits."""
MOST_PARALLEL = 1_000_000
"""Requests at a time: more slots a gateway could not report."""
LONGEST_REVISION = 64
"""Characters; it is written down and reported with everything that is told of the model."""


def check_request(request: LoadRequest) -> None:
    """Raise MalformedRequest for values that can never be right."""
    check_id(request.model_id)
    if request.revision is not None and not 0 < len(request.revision) <= LONGEST_REVISION:
        raise MalformedRequest(f"revision: expected 1 to {LONGEST_REVISION} characters", field="revision")
    at_least = {
        "tensor_parallel": (request.tensor_parallel, 1),
        "vram_mb": (request.vram_mb, 0),
        "context": (request.context, 1),
        "parallel": (request.parallel, 1),
        "idle_unload_s": (request.idle_unload_s, 0),
        "min_residency_s": (request.min_residency_s, 0),
    }
    for name, (value, least) in at_least.items():
        if value is not None and not value >= least:
            raise MalformedRequest(f"{name}: expected at least {least}, got {value}", field=name)
        most = MOST_PARALLEL if name == "parallel" else MOST
        if value is not None and value > most:
            raise MalformedRequest(f"{name}: expected at most {most}, got {str(value)[:20]}", field=name)
    devices, count = request.devices, request.tensor_parallel
    if devices and len(set(devices)) < len(devices):
        raise MalformedRequest(f"devices: {list(devices)} names one twice", field="devices")
    if devices and count is not None and count != len(devices):
        raise MalformedRequest(
            f"tensor_parallel is {count}, but devices names {len(devices)}: {list(devices)}; "
            "make them agree, or leave one out",
            field="tensor_parallel",
        )


def check_id(model_id: str) -> None:
    """Raise MalformedRequest for an id that no model can have here."""
    if not model_id or model_id != model_id.strip() or not model_id.isprintable():
        raise MalformedRequest("model_id: expected printable text without spaces around it", field="model_id")
    if len(quote(model_id, safe="")) > LONGEST_ID_BYTES:
        raise MalformedRequest(f"model_id: longer than {LONGEST_ID_BYTES} bytes", field="model_id")


def essence(request: LoadRequest) -> LoadRequest:
    """Return what a load wants, without how it is to come by it and who asks: that counts once."""
    return msgspec.structs.replace(request, evict=(), basis_event=None, basis_start_id=None, steward=None)


def completed(request: LoadRequest, harness: Harness, instance: Instance | None) -> LoadRequest:
    """Return what a load means that names nothing but a model which was loaded before: the same again.

    Two revisions of a catalogue's entry are never the same: what the newer one does not say, it leaves out.
    """
    is_bare = essence(request) == LoadRequest(
        model_id=request.model_id, harness=request.harness, revision=request.revision
    )
    if instance is None or instance.launch is None or instance.harness is not harness or not is_bare:
        return request
    before = instance.launch.request
    if request.revision is not None and before.revision not in (None, request.revision):
        return request
    return msgspec.structs.replace(
        before,
        revision=request.revision or before.revision,
        evict=request.evict,
        basis_event=request.basis_event,
        basis_start_id=request.basis_start_id,
        steward=request.steward,
    )


def pick_harness(wanted: str, harnesses: Sequence[Harness], details: Mapping[str, HarnessDetail]) -> Harness:
    """Return the usable entry that ``wanted`` names; else the first of that kind. Raises: CallerError."""
    named = [harness for harness in harnesses if harness.name == wanted]
    meant = named or [harness for harness in harnesses if harness.kind == wanted]
    if not meant:
        known = ", ".join(harness.name for harness in harnesses) or "none is configured"
        raise UnknownHarness(f"no harness '{wanted}' on this node; there are: {known}", harness=wanted)
    usable = [harness for harness in meant if details[harness.name].usable]
    if not usable:
        first = meant[0].name
        raise HarnessUnusable(f"harness '{first}' cannot be used here: {details[first].why_not}", harness=first)
    return usable[0]


def check_devices(wanted: Sequence[int], harness: Harness, devices: Sequence[Device]) -> None:
    """Raise NoSuchDevice for an index that the node does not have or the harness cannot use."""
    by_index = {device.index: device for device in devices}
    usable = [str(device.index) for device in devices if device.kind in harness.device_kinds]
    there = ", ".join(f"{device.index} ({device.name})" for device in devices) or "none"
    for index in wanted:
        if index not in by_index:
            raise NoSuchDevice(f"device {index} does not exist; this node has: {there}", device=index)
        if harness.device_kinds and by_index[index].kind not in harness.device_kinds:
            raise NoSuchDevice(
                f"harness '{harness.name}' cannot use device {index} ({by_index[index].name}, "
                f"{by_index[index].kind}); it can use: {', '.join(usable) or 'none'}",
                device=index,
            )
    if len(wanted) > 1 and any(by_index[index].kind == "mig" for index in wanted):
        raise NoSuchDevice("a process sees one MIG device only: name one", device=wanted[1])


def as_measured(request: LoadRequest, prepared: Prepared, measured_mb: int | None, devices: Sequence[int]) -> Prepared:
    """Return a load that needs no less than the model was last seen to take, where nobody says what it needs.

    Raises: MalformedRequest when nobody has any idea.
    """
    if not prepared.is_estimate:
        return prepared
    need_mb = max(prepared.need_mb, measured_mb or 0)
    if devices and not need_mb:
        raise MalformedRequest(
            f"vram_mb: say what {request.model_id} needs, in MiB over all its devices; its files cannot be seen here, "
            "and it was never measured",
            field="vram_mb",
        )
    return msgspec.structs.replace(prepared, need_mb=need_mb)


def check_same(request: LoadRequest, harness: Harness, launch: Launch) -> None:
    """Raise LoadedDifferently when a model is loaded, but not as ``request`` wants it. What it leaves open is right."""
    have = tuple(device.index for device in launch.devices)
    differences = []
    if request.harness not in (harness.name, harness.kind):
        differences.append(f"with harness {harness.name}, not {request.harness}")
    if request.devices and set(request.devices) not in (set(have), set(launch.request.devices or ())):
        differences.append(f"on devices {list(have)}, not {list(request.devices)}")
    elif request.tensor_parallel is not None and have and request.tensor_parallel != len(have):
        differences.append(f"on {len(have)} devices, not {request.tensor_parallel}")
    for name in ("quant", "source"):
        wanted, is_so = getattr(request, name), getattr(launch.request, name)
        if wanted is not None and wanted != is_so:
            differences.append(f"with {name} {is_so or 'not said'}, not {wanted}")
    if differences:
        raise LoadedDifferently(
            f"{request.model_id} is loaded {'; and '.join(differences)}: unload it first", generation=launch.generation
        )

"""What llama-server takes and says: its command line, its environment, its lists and metrics. No process is touched.

Measured with build 11549 (2026-11); older builds lack some flags, which ``--help`` tells.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from cortex.contract.node import Device, DeviceKind
from cortex.neuron.metric_text import activity_reader

REQUIRED_FLAGS = ("--api-prefix", "--metrics", "--alias")
OPTIONAL_FLAGS = frozenset({"--offline", "--kv-unified", "--cache-ram"})
ALL_LAYERS = "999"
"""More layers than any model has: understood by every build, where ``all`` is not."""

activity_in = activity_reader(
    ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    ("llamacpp:n_decode_total", "llamacpp:prompt_tokens_total"),
)
"""Reads what the engine does from its ``/metrics``; None when it does not say."""

_BACKENDS: Mapping[str, frozenset[DeviceKind]] = {
    "CUDA": frozenset({"cuda", "mig"}),
    "ROCm": frozenset({"rocm"}),
    "SYCL": frozenset({"xpu"}),
    "Vulkan": frozenset({"cuda", "rocm", "xpu"}),
}
"""Device names in ``--list-devices`` begin with the back-end's name."""


class Serve(msgspec.Struct, frozen=True, kw_only=True):
    """One engine to be: everything its command line depends on."""

    model: Path
    mmproj: Path | None
    alias: str
    host: str
    port: int
    prefix: str
    parallel: int
    context_tokens: int
    """The whole cache over all slots."""
    is_pool: bool
    """The slots share the cache, instead of having equal parts of it."""
    threads: int | None
    args: tuple[str, ...]


def alias_of(model_id: str) -> str:
    """Return the name that the engine answers to: the id, without the commas that would split it into several."""
    return model_id.replace(",", "_")


def command_line(serve: Serve, devices: Sequence[Device], flags: Collection[str] | None) -> list[str]:
    """Return the arguments after the program's name. ``flags``: what this build knows; None: all."""
    line = ["--model", str(serve.model), "--alias", serve.alias, "--host", serve.host, "--port", str(serve.port)]
    line += ["--api-prefix", serve.prefix, "--parallel", str(serve.parallel), "--ctx-size", str(serve.context_tokens)]
    line += ["--metrics"]
    optional = [["--offline"]]
    if serve.is_pool:
        optional.append(["--kv-unified"])
    if serve.mmproj is not None:
        line += ["--mmproj", str(serve.mmproj)]
    if serve.threads is not None:
        line += ["--threads", str(serve.threads)]
    if any(device.kind != "cpu" for device in devices):
        line += ["--n-gpu-layers", ALL_LAYERS]
        if len(devices) > 1:
            line += ["--tensor-split", ",".join("1" for _ in devices)]
    else:
        line += ["--n-gpu-layers", "0"]
        # The host's prompt cache may grow to 8 GiB by default: RAM that nobody reserved.
        optional.append(["--cache-ram", "0"])
    for words in optional:
        if flags is None or words[0] in flags:
            line += words
    return [*line, *serve.args]


def known_flags(help_text: str) -> frozenset[str]:
    """Return the long flags that a ``--help`` names."""
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", help_text))


def version_in(text: str) -> str | None:
    """Return what follows ``version:`` in the answer to ``--version``."""
    found = re.search(r"^version:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def usable_kinds(list_devices: str) -> frozenset[DeviceKind]:
    """Return the kinds of GPU that a ``--list-devices`` shows it was built for and sees."""
    names = re.findall(r"^\s+([A-Za-z]+)\d*:", list_devices, re.MULTILINE)
    return frozenset(kind for name in names for kind in _BACKENDS.get(name, ()))

"""Which keys of a harness entry mean something to its kind: one that another kind has is hardly meant.

Only for the built-in kinds; what a plug-in uses is its own matter.
"""

from collections.abc import Iterator, Mapping

import msgspec

from cortex.neuron.command_preset import PRESETS
from cortex.neuron.settings import HarnessEntry

_PROCESS = frozenset({"relay", "port_range", "env", "args", "allow_args"})
_COMMAND = _PROCESS | {"cmd", "ready_path", "in_flight_metrics", "work_metrics", "stop_signal", "stop_grace_s"}

USED: Mapping[str, frozenset[str]] = {
    "comfyui": frozenset({"endpoint", "systemd_unit", "relay", "env"}),
    "command": _COMMAND,
    **dict.fromkeys(PRESETS, _COMMAND | {"binary"}),
    "llamacpp": _PROCESS | {"binary"},
    "mistralrs": _PROCESS | {"endpoint", "systemd_unit", "binary", "package", "mode"},
    "openai": frozenset({"endpoint", "endpoints", "key_file", "models", "relay"}),
}
"""By kind, beside its name and the kind itself."""


def idle_keys(entry: HarnessEntry) -> Iterator[str]:
    """Yield the keys that an entry sets and its kind does nothing with."""
    used = USED.get(entry.kind)
    bare = HarnessEntry(name=entry.name, kind=entry.kind)
    for field in msgspec.structs.fields(HarnessEntry):
        is_set = getattr(entry, field.name) != getattr(bare, field.name)
        if used is not None and is_set and field.name not in used:
            yield field.encode_name

"""Which kinds of harness there are, and one harness object per configured entry.

Built-in kinds win over plug-ins (``plug_in.py``). An entry of a kind that there is neither of, or whose plug-in is
broken, stays on the list as unusable, with the reason: a file written for a newer neuron, or for another engine, must
not keep this one from starting.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
from cortex.neuron.command_preset import PRESETS
from cortex.neuron.harness.comfyui import ComfyUiHarness
from cortex.neuron.harness.command import CommandHarness
from cortex.neuron.harness.interface import (
    Capabilities,
    Engine,
    EngineExit,
    Harness,
    Launch,
    ListedModel,
    Prepared,
    Site,
)
from cortex.neuron.harness.llamacpp import LlamaCppHarness
from cortex.neuron.harness.mistralrs import mistralrs_harness
from cortex.neuron.harness.openai import OpenAiHarness
from cortex.neuron.harness.plug_in import offered_kinds, plugged_in
from cortex.neuron.refusal import HarnessUnusable
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Record

BUILT_IN: Mapping[str, Callable[[HarnessEntry, Site], Harness]] = {
    "comfyui": ComfyUiHarness,
    "command": CommandHarness,
    **dict.fromkeys(PRESETS, CommandHarness),
    "llamacpp": LlamaCppHarness,
    "mistralrs": mistralrs_harness,
    "openai": OpenAiHarness,
}


class Unusable:
    """Stands for an entry that no harness can be made for, and says why."""

    capabilities = Capabilities(process_model="foreign", is_fenced=False, reports_in_flight=False)
    device_kinds: frozenset[DeviceKind] = frozenset()

    def __init__(self, entry: HarnessEntry, why: str) -> None:
        self.name = entry.name
        self.kind = entry.kind
        self._why = why

    async def probe(self) -> HarnessDetail:
        return HarnessDetail(name=self.name, kind=self.kind, usable=False, why_not=self._why)

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        raise HarnessUnusable(self._why)

    async def start(self, launch: Launch) -> Engine | EngineExit:
        raise HarnessUnusable(self._why)

    async def recover(self, record: Record, log: Path) -> Engine | None:
        return None

    async def listed(self) -> tuple[ListedModel, ...] | None:
        return ()


def build(entries: Iterable[HarnessEntry], site_for: Callable[[HarnessEntry], Site]) -> tuple[Harness, ...]:
    """Return one harness per entry, in their order. Raises: ConfigError for an entry that its kind cannot use."""
    return tuple(_one(entry, site_for) for entry in entries)


def _one(entry: HarnessEntry, site_for: Callable[[HarnessEntry], Site]) -> Harness:
    kind = BUILT_IN.get(entry.kind)
    if kind is not None:
        return kind(entry, site_for(entry))
    found = plugged_in(entry, site_for)
    if found is None:
        known = ", ".join(sorted({*BUILT_IN, *offered_kinds()}))
        found = f"this neuron has no harness of kind '{entry.kind}'; it has {known}"
    return Unusable(entry, found) if isinstance(found, str) else found

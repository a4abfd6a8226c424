"""Which kinds of harness there are, and one harness object per configured entry.

An entry of a kind that is not built in stays on the list as unusable, with the reason: a file written for a newer
neuron, or for another engine, must not keep this one from starting.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
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
from cortex.neuron.harness.openai import OpenAiHarness
from cortex.neuron.refusal import HarnessUnusable
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Record

BUILT_IN: Mapping[str, Callable[[HarnessEntry, Site], Harness]] = {
    "llamacpp": LlamaCppHarness,
    "openai": OpenAiHarness,
}


class UnknownKind:
    """Stands for an entry of a kind that this neuron does not have."""

    capabilities = Capabilities(process_model="foreign", is_fenced=False, reports_in_flight=False)
    device_kinds: frozenset[DeviceKind] = frozenset()

    def __init__(self, entry: HarnessEntry) -> None:
        self.name = entry.name
        self.kind = entry.kind
        self._why = f"this neuron has no harness of kind '{entry.kind}'; it has {', '.join(sorted(BUILT_IN))}"

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
    return UnknownKind(entry) if kind is None else kind(entry, site_for(entry))

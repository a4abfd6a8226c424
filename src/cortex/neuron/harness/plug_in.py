"""Harnesses of other distributions, found by the entry point group ``cortex.harnesses`` under the name of their kind.

Nothing is imported before an entry asks for the kind. Whatever a plug-in raises where a neuron could not go on (while
it is imported, made, probed, asked for its engines or its models) makes its entry unusable, or counts as no answer; and
so does what it answers that is no answer, or not in time.
"""

import asyncio
import importlib.metadata
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from cortex.contract.error import ConfigError, CortexError
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
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Record

log = logging.getLogger(__name__)

GROUP = "cortex.harnesses"
PROBE_DEADLINE_S = 60.0
"""A first start with CUDA can take many seconds; the neuron says ``starting`` meanwhile."""
_NEEDED = ("name", "kind", "capabilities", "device_kinds", "probe", "prepare", "start", "recover", "listed")


def offered_kinds() -> tuple[str, ...]:
    """Return the kinds that installed distributions offer; nothing of them is imported."""
    return tuple(sorted(importlib.metadata.entry_points(group=GROUP).names))


def plugged_in(entry: HarnessEntry, site_for: Callable[[HarnessEntry], Site]) -> Harness | str | None:
    """Return the harness that a plug-in makes for an entry, or why it is of no use; None when there is no plug-in.

    Raises: ConfigError for an entry that its kind cannot use.
    """
    points = tuple(importlib.metadata.entry_points(group=GROUP, name=entry.kind))
    if not points:
        return None
    if len({point.value for point in points}) > 1:
        packages = ", ".join(sorted(point.dist.name if point.dist else point.value for point in points))
        return f"several packages offer harness kind '{entry.kind}' ({packages}): remove all but one"
    try:
        made = points[0].load()(entry, site_for(entry))
        lacking = [name for name in _NEEDED if not hasattr(made, name)]
        if not lacking:
            _ = made.capabilities.process_model, sorted(made.device_kinds)  # asked for later, where nothing may fail
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        log.exception("harness %s: plug-in %s cannot be used", entry.name, points[0].value)
        return f"plug-in {points[0].value} fails: {_words(error)}"
    if lacking:
        return f"plug-in {points[0].value} is no harness: it lacks {', '.join(lacking)}"
    return (GuardedRestartable if hasattr(made, "restart") else Guarded)(made, entry)


class Guarded:
    """A plug-in's harness whose defects stay its own."""

    def __init__(self, harness: Harness, entry: HarnessEntry) -> None:
        self._harness = harness
        self.name = entry.name
        self.kind = entry.kind

    @property
    def capabilities(self) -> Capabilities:
        return self._harness.capabilities

    @property
    def device_kinds(self) -> frozenset[DeviceKind]:
        return self._harness.device_kinds

    async def probe(self) -> HarnessDetail:
        try:
            async with asyncio.timeout(PROBE_DEADLINE_S):
                detail = await self._harness.probe()
            # The name and the kind are the entry's, whatever a plug-in calls itself.
            detail = msgspec.structs.replace(detail, name=self.name, kind=self.kind)
        except TimeoutError:
            return self._unusable(f"its probe gives no answer within {PROBE_DEADLINE_S:g} s")
        except Exception as error:
            log.exception("harness %s: its probe failed", self.name)
            return self._unusable(f"its probe fails: {_words(error)}")
        return detail

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        prepared: object = await self._harness.prepare(request, devices)
        if isinstance(prepared, Prepared) and _is_count(prepared.need_mb) and _is_count(prepared.parallel):
            return prepared
        raise CortexError(f"harness '{self.name}': its plug-in does not say what a load needs, but: {prepared!r:.200}")

    async def start(self, launch: Launch) -> Engine | EngineExit:
        return await self._harness.start(launch)

    async def recover(self, record: Record, log_file: Path) -> Engine | None:
        try:
            return await self._harness.recover(record, log_file)
        except Exception:
            log.exception("harness %s: an engine of an earlier neuron cannot be gone on with", self.name)
            return None

    async def listed(self) -> tuple[ListedModel, ...] | None:
        try:
            listed = await self._harness.listed()
            return None if listed is None else tuple(_checked(model) for model in listed)
        except Exception:
            log.exception("harness %s: its models cannot be listed", self.name)
            return None

    def _unusable(self, why_not: str) -> HarnessDetail:
        return HarnessDetail(name=self.name, kind=self.kind, usable=False, why_not=why_not)


class GuardedRestartable(Guarded):
    """The same for one whose models share a server that can be restarted (``interface.Restartable``)."""

    async def restart(self) -> None:
        restart: Callable[[], Awaitable[None]] = vars(self)["_harness"].restart
        await restart()


def _is_count(number: object) -> bool:
    return isinstance(number, int) and number >= 0


def _checked(model: object) -> ListedModel:
    """Raise TypeError for what is no model on a list."""
    if not isinstance(model, ListedModel):
        raise TypeError(f"expected a ListedModel, got {type(model).__name__}")
    return model


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

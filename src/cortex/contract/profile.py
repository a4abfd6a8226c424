"""One entry of the catalogue (``models.toml``): how to serve a model, never where.

The mission's keys first; the rest are known to the loader from the first commit, even where a later part of the
system gives them their full effect. Checking of values is the loader's work, not this file's.
"""

import msgspec


class Variant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What of a profile is otherwise on one harness; None: as the profile says."""

    quant: str | None = None
    vram_mb: int | None = None
    min_devices: int | None = None
    min_device_vram_mb: int | None = None
    source: str | None = None
    args: tuple[str, ...] | None = None
    context: int | None = None
    parallel: int | None = None
    mmproj: str | None = None
    images_workflow: str | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to serve one model. ``harness`` matches an entry's name on the node, else its kind."""

    id: str
    harness: str
    quant: str | None = None
    vram_mb: int | None = None
    """Total need, split evenly over exactly the chosen devices; None: the neuron estimates it."""
    min_devices: int = 1
    """0: needs no device."""
    min_device_vram_mb: int = 0
    """Compared with each device's ``vram_total_mb``."""
    pinned_on: tuple[str, ...] = ()
    """Protects and ranks first on these nodes; never excludes the others."""
    aliases: tuple[str, ...] = ()
    source: str | None = None
    args: tuple[str, ...] = ()
    context: int | None = None
    parallel: int | None = None
    mmproj: str | None = None
    priority: int = 0
    """Residency; a higher number wins."""
    queue_priority: int = 0
    """Queue; a higher number wins."""
    preload: bool = False
    min_replicas: int = 0
    max_replicas: int | None = None
    idle_unload_s: float | None = None
    min_residency_s: float | None = None
    capabilities: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    images_workflow: str | None = None
    group: str | None = None
    """The ``[[groups]]`` whose keys it has where it does not say otherwise: laid under it by the loader."""
    variants: dict[str, Variant] = {}
    """By the name or kind of a harness: the model may run there too, so (``fleet/variant.py``)."""

"""What ``serve`` and ``check`` say of a configuration that is allowed and hardly meant, or has no effect yet.

Faults are not its matter: those are refused by whoever reads the files.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from cortex.contract.profile import Profile
from cortex.gateway.settings import GatewaySettings, host_port

WITHOUT_EFFECT: Mapping[str, Collection[str]] = {
    "gateway": ("steward",),
    "eviction": ("strategy", "defrag_after_cycles"),
    "store": ("url",),
}
"""Keys of ``cortex.toml`` by section that are known and checked, and nothing comes of them yet."""

MODEL_WITHOUT_EFFECT = (
    "priority",
    "queue_priority",
    "preload",
    "min_replicas",
    "min_residency_s",
    "labels",
)
"""The same of ``models.toml``."""


def remarks(settings: GatewaySettings, profiles: Collection[Profile], tree: Mapping[str, Any]) -> list[str]:
    """Return a sentence for everything worth one. ``tree``: the configuration file as it was written."""
    return [
        *_about_nodes(settings, profiles),
        *_about_ports(settings),
        *_about_sections(settings, tree),
        *_about_models(profiles),
    ]


def _about_nodes(settings: GatewaySettings, profiles: Collection[Profile]) -> Iterator[str]:
    nodes = {entry.name for entry in settings.neurons}
    if not nodes:
        yield "no [[neurons]]: every request will be answered 503"
    for profile in profiles:
        strangers = sorted(set(profile.pinned_on) - nodes)
        if strangers:
            yield f"{profile.id} is pinned on {', '.join(strangers)}, which is no name under [[neurons]]"


def _about_ports(settings: GatewaySettings) -> Iterator[str]:
    gateway = settings.gateway
    if host_port(gateway.listen)[1] == host_port(gateway.metrics_listen)[1] != 0:
        yield "listen and metrics_listen have the same port"


def _about_sections(settings: GatewaySettings, tree: Mapping[str, Any]) -> Iterator[str]:
    for name, keys in WITHOUT_EFFECT.items():
        section = getattr(settings, name)
        given = [key for key in keys if key in tree.get(name, ()) or key in _changed(section, type(section)())]
        if given:
            yield f"[{name}] {', '.join(given)}: no effect yet"


def _about_models(profiles: Collection[Profile]) -> Iterator[str]:
    plain = Profile(id="", harness="")
    for key in MODEL_WITHOUT_EFFECT:
        given = [profile.id for profile in profiles if key in _changed(profile, plain)]
        if given:
            yield f"[[models]] {key} of {', '.join(given)}: no effect yet"


def _changed(one: msgspec.Struct, other: msgspec.Struct) -> set[str]:
    """Return the fields in which two of a kind differ."""
    return {name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name)}

"""What a neuron with these settings would offer on this host, found out without starting one.

It takes no port and no state directory, so that it can be asked beside a neuron that runs.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence

import msgspec

from cortex.contract.node import HarnessDetail
from cortex.kit.clock import SystemClock
from cortex.kit.fleet_token import fleet_token
from cortex.kit.http_client import HttpClient
from cortex.kit.listener import bind
from cortex.neuron.app import a_sampler
from cortex.neuron.discovery.interface import Reading
from cortex.neuron.environment import engine_environment
from cortex.neuron.harness.interface import Harness, Site
from cortex.neuron.harness.registry import build
from cortex.neuron.inventory import Inventory
from cortex.neuron.rediscovery import gpu_kinds, probed
from cortex.neuron.sampler import Sampler
from cortex.neuron.settings import NeuronSettings


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Devices with one reading of each, by index, and what can be said of the harnesses."""

    inventory: Inventory
    readings: Sequence[Reading]
    harnesses: Sequence[HarnessDetail]


async def find_offer(settings: NeuronSettings, env: Mapping[str, str], sampler: Sampler | None = None) -> Offer:
    """Look at the host as a neuron does when it starts. Raises: ConfigError as it does."""
    fleet_token(settings.token_file, env)
    bind(settings.host, 0).close()  # the address alone: the port may be that of a neuron that runs
    sampler = sampler or a_sampler(SystemClock(), settings.cpu_device, frozenset)
    http = HttpClient()
    try:
        inventory = await sampler.discover()
        snapshot = await sampler.refresh()
        harnesses = harnesses_of(settings, env, http, inventory)
        details = await asyncio.gather(*(probed(harness) for harness in harnesses))
        return Offer(inventory=inventory, readings=snapshot.readings, harnesses=details)
    finally:
        await http.close()
        sampler.close()


def harnesses_of(
    settings: NeuronSettings, env: Mapping[str, str], http: HttpClient, inventory: Inventory
) -> tuple[Harness, ...]:
    """Return the harnesses of these settings on a host of these devices. Raises: ConfigError."""
    return build(
        settings.harnesses,
        lambda _: Site(
            bind_host=settings.host,
            is_tethered=False,
            env=engine_environment(env),
            model_dirs=settings.model_dirs,
            gpu_kinds=gpu_kinds(inventory),
            cores=len(os.sched_getaffinity(0)),
            http=http,
            devices=inventory.devices,
        ),
    )

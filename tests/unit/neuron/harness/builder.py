"""Builds what a harness is given: a site, a launch, a record."""

import os
from pathlib import Path
from typing import Any

import msgspec

from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.interface import Launch, Prepared, Site
from cortex.neuron.state_dir import Handle, Record

CPU = Device(index=0, name="cpu", vram_total_mb=64000, kind="cpu")


def a_site(**changes: Any) -> Site:
    """Return a site on loopback without GPUs; its HTTP client makes no connection until it is used."""
    site = Site(
        bind_host="127.0.0.1",
        is_tethered=True,
        env={},
        model_dirs=(),
        gpu_kinds=frozenset(),
        cores=2,
        http=HttpClient(),
    )
    return msgspec.structs.replace(site, **changes)


def a_request(**changes: Any) -> LoadRequest:
    return msgspec.structs.replace(LoadRequest(model_id="lab/m", harness="llamacpp"), **changes)


def a_launch(**changes: Any) -> Launch:
    launch = Launch(
        request=a_request(),
        prepared=Prepared(need_mb=100, is_estimate=True, parallel=1),
        generation=7,
        nonce="abc",
        devices=(CPU,),
        ordinals=(0,),
        log=Path(os.devnull),
    )
    return msgspec.structs.replace(launch, **changes)


def a_record(**changes: Any) -> Record:
    record = Record(
        model_id="lab/m",
        harness="llamacpp",
        generation=7,
        nonce="abc",
        devices=(0,),
        need_mb=100,
        is_estimate=True,
        parallel=1,
        request=a_request(),
        handle=Handle(),
    )
    return msgspec.structs.replace(record, **changes)

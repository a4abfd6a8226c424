"""One images server as a process: its log on standard error, its reasons too when it cannot start.

It ends by itself when its port is taken, or when ComfyUI is not there or lacks nodes of the workflow. After SIGTERM it
calls off what runs, and ends.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping

import msgspec

from cortex.contract.error import ConfigError, CortexError
from cortex.kit.clock import SystemClock
from cortex.kit.http_client import HttpClient
from cortex.kit.listener import bind
from cortex.kit.log import configure
from cortex.kit.serving import serving
from cortex.neuron.images.comfy import Comfy
from cortex.neuron.images.server import ImagesServer, ImagesSettings
from cortex.neuron.images.workflow import classes

VARIABLE = "CORTEX_IMAGES"
"""Holds the settings in the environment of the process."""
GRACE_S = 1.0
"""For answers that are being sent; a workflow takes longer, and is called off then."""


def main(env: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    settings = msgspec.json.decode(env[VARIABLE], type=ImagesSettings)
    configure("info")
    try:
        asyncio.run(_serve(settings))
    except CortexError as error:
        # The words by which a port that is taken is known from other failures.
        why = "couldn't bind: " if isinstance(error, ConfigError) else ""
        print(f"ERROR: {why}{error.message}", file=sys.stderr, flush=True)
        return 1
    return 0


async def _serve(settings: ImagesSettings) -> None:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    http = HttpClient(user_agent="cortex-images")
    comfy = Comfy(settings.comfy, http)
    try:
        with contextlib.closing(bind(settings.host, settings.port)) as listener:
            lacking = await comfy.lacking(classes(settings.workflow))
            if lacking:
                raise CortexError(f"ComfyUI does not know the workflow's nodes: {', '.join(lacking)}")
            async with serving(ImagesServer(settings, comfy, SystemClock()).app, listener, grace_s=GRACE_S):
                await told.wait()
    finally:
        await http.close()

"""The event loops that a gateway can run on: every scene is played on each."""

import asyncio
import importlib.util
from collections.abc import Callable

import pytest

LOOPS = ["asyncio", "uvloop"] if importlib.util.find_spec("uvloop") else ["asyncio"]


@pytest.fixture(params=LOOPS)
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop."""
    if request.param == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop

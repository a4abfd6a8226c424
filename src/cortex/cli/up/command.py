"""Puts a local fleet together and keeps it until a signal or a failure.

A first Ctrl-C or SIGTERM stops everything in order, a second one at once. So does a terminal that is gone, once however
often that is told.
"""

import asyncio
import os
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from cortex.cli.up.directory import private_directory
from cortex.cli.up.fleet import LocalFleet
from cortex.cli.up.guide import guide
from cortex.cli.up.model import choose_model
from cortex.cli.up.plan import Plan, Wish, environment, make_plan, write_files
from cortex.contract.error import ConfigError, CortexError
from cortex.kit import place
from cortex.kit.clock import SystemClock
from cortex.kit.http_client import HttpClient

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def up(wish: Wish, env: Mapping[str, str]) -> int:
    """Run a local fleet until it is told to stop; return the exit code.

    Raises: CortexError that says why it could not start, or why it ended by itself.
    """
    model = choose_model(wish.model, env, place.cwd(), place.home())
    with private_directory(_temporary(), SystemClock()) as home:
        plan = make_plan(wish, model, home)
        write_files(plan)
        _say(f"starting a gateway, a neuron and an engine with {model.id}; logs are in {home}")
        asyncio.run(_live(plan, environment(plan, env)))
    return 0


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as exc:
        raise ConfigError(f"{exc.strerror}: set TMPDIR to one that can be written") from exc


async def _live(plan: Plan, env: Mapping[str, str]) -> None:
    """Run the fleet until a signal comes. Raises: CortexError when it ends by itself."""
    http = HttpClient()
    fleet = LocalFleet(plan, env, http, _say)
    is_told = _obey_signals(fleet)
    try:
        await fleet.run(up=lambda: _say(guide(plan, sys.argv)))
    except asyncio.CancelledError:
        if not is_told.is_set():
            raise
        _say("stopping (again to stop at once)")
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        await fleet.stop()
        await http.close()


def _obey_signals(fleet: LocalFleet) -> asyncio.Event:
    """Cancel the calling task at the first signal and kill the fleet at the second; return what the first one sets."""
    loop, story, is_told = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
    assert story is not None

    def stop() -> None:
        if not is_told.is_set():
            is_told.set()
            story.cancel()

    def obey() -> None:
        if is_told.is_set():
            fleet.kill()
        stop()

    for number in SIGNALS:
        loop.add_signal_handler(number, obey)
    loop.add_signal_handler(signal.SIGHUP, stop)
    _watch_terminal(stop)
    return is_told


def _watch_terminal(gone: Callable[[], None]) -> None:
    """Call ``gone`` when the terminal is closed, if there is one.

    The kernel tells that only the leader of the terminal's session, and a ``make`` that leads one tells nobody.
    """
    terminal = next((number for number in (0, 1, 2) if os.isatty(number)), None)
    if terminal is None:
        return
    loop, watch = asyncio.get_running_loop(), select.epoll()
    watch.register(terminal, 0)  # a hang-up is reported unasked, and typing must not be

    def hung_up() -> None:
        loop.remove_reader(watch)
        watch.close()
        gone()

    loop.add_reader(watch, hung_up)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of ours; the group itself when it holds something that is not."""
    ours, others = group.split(CortexError)
    if ours is None or others is not None:
        return group
    return next(error for error in ours.exceptions)


def _say(text: str) -> None:
    """Print for the person; a terminal that is gone must not keep the fleet from stopping."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

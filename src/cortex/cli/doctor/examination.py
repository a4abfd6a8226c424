"""Runs checks: all at once, each with a deadline, and whatever one of them does, the others are heard.

A check that is late or has a defect is a finding itself. Of a defect only its kind and place are told: what else an
exception says may hold a secret. What blocks (files, names, drivers) runs in threads that nobody waits for at the end.
"""

import asyncio
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, TypeVarTuple, Unpack

import msgspec

from cortex.cli.doctor.finding import Finding, Skip, fail, skipped
from cortex.contract.error import ConfigError
from cortex.kit.strict import did_you_mean

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DEADLINE_S = 10.0
RIGHTS = "run it as root, or as the user of the service"


class Check(NamedTuple):
    """Something to look at. ``id``: its subject, a full stop, and what of it."""

    id: str
    look: Callable[[], Awaitable[Finding | Iterable[Finding]]]

    @property
    def subject(self) -> str:
        return self.id.partition(".")[0]


class Fact(Generic[T]):
    """What several checks want to know and is asked for once; why it cannot be known is told to each of them."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._lock = asyncio.Lock()
        self._known: list[T] = []
        self._why_not: Exception | None = None

    async def __call__(self) -> T:
        """Return it. Raises: whatever asking has raised."""
        async with self._lock:
            if not self._known and self._why_not is None:
                try:
                    self._known.append(await self._ask())
                except Exception as exc:
                    self._why_not = exc
        if self._why_not is not None:
            raise self._why_not
        return self._known[0]


def selected(checks: Sequence[Check], only: Iterable[str], skip: Iterable[str]) -> list[Check]:
    """Return those that were asked for, by id or by subject. Raises: ConfigError for a word that is neither."""
    wanted, unwanted = set(only), set(skip)
    known = {word for check in checks for word in (check.id, check.subject)}
    for word in sorted((wanted | unwanted) - known):
        raise ConfigError(f"{word} is no check and no subject of checks{did_you_mean(word, known)}")
    return [
        check
        for check in checks
        if (not wanted or not wanted.isdisjoint((check.id, check.subject)))
        and unwanted.isdisjoint((check.id, check.subject))
    ]


async def examine(checks: Iterable[Check], deadline_s: float = DEADLINE_S) -> list[Finding]:
    """Make all checks at once; return what each has found, in their order."""
    found = await asyncio.gather(*(_examined(check, deadline_s) for check in checks))
    return [finding for of_one in found for finding in of_one]


async def _examined(check: Check, deadline_s: float) -> list[Finding]:
    limit = asyncio.timeout(deadline_s)
    try:
        async with limit:
            said = await check.look()
        found = [said] if isinstance(said, Finding) else [*said] or [skipped("there is nothing of it to look at")]
    except Skip as exc:
        found = [skipped(exc.why, do=exc.do)]
    except PermissionError as exc:
        found = [skipped(f"{exc.filename or 'it'} cannot be read by this user", do=RIGHTS)]
    except Exception as exc:
        found = [_late(deadline_s) if limit.expired() else _defect(exc)]
    return [msgspec.structs.replace(finding, id=check.id) for finding in found]


def _late(deadline_s: float) -> Finding:
    return fail(
        f"no answer within {deadline_s:g} s",
        "what is looked at hangs: a file system, a driver, or a server that takes connections and says nothing",
        "look at it by hand; a slow one may have more time with --deadline",
    )


def _defect(exc: Exception) -> Finding:
    frames = traceback.extract_tb(exc.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return fail(
        f"the check itself has failed: {type(exc).__name__}{place}",
        "this is a defect of doctor; what it looks at may be well",
        "report it with the words above; --skip leaves the check out",
    )


async def in_thread(work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    """Do what blocks in a thread of its own, which is left behind when nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(say: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(lambda: None if future.done() else say())

    def run() -> None:
        try:
            result = work(*args)
        except Exception as exc:
            error = exc
            tell(lambda: future.set_exception(error))
        else:
            tell(lambda: future.set_result(result))

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await future

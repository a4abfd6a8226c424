"""Looks at the store without changing it, and judges what was seen: reach, schema, clock, and where its file is.

A gateway migrates a store when it first needs it; here it is only read. A SQLite file that is not there is not made.
"""

import asyncio
import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from cortex.cli.doctor.examination import in_thread
from cortex.cli.doctor.file import IN_MEMORY, is_networked
from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn
from cortex.cli.doctor.host import Disk
from cortex.cli.doctor.limit import judge_skew
from cortex.gateway.store_url import StoreUrl
from cortex.kit.clock import Clock

if TYPE_CHECKING:
    from sqlalchemy import Connection

NO_STORE = "no store is configured: keys, usage and claims are kept nowhere"


class StoreLook(NamedTuple):
    """What was seen. ``here``: the revision of the schema, None in an empty database; ``is_known``: to this version.

    ``keys``: how many hold; None where there is no table of them yet. ``skew_s``: its clock less this one.
    """

    shown: str
    exists: bool = True
    why_not: str = ""
    lacks_library: bool = False
    here: str | None = None
    newest: str | None = None
    is_known: bool = True
    keys: int | None = None
    skew_s: float = 0.0
    took_s: float = 0.0


async def look_at(url: StoreUrl, clock: Clock, deadline_s: float) -> StoreLook:
    """Connect, read, and leave. Raises: PermissionError where this user may not."""
    try:
        from sqlalchemy.exc import SQLAlchemyError

        from cortex.gateway.store.engine import make_engine
    except ImportError as exc:
        name = exc.name or "a library"
        return StoreLook(url.shown, why_not=f"{name} is not installed", lacks_library=True)
    try:
        if url.backend == "sqlite":
            return await in_thread(_sqlite, url, clock, deadline_s)
        engine = make_engine(url, who="cortex doctor", deadline_s=deadline_s)
        try:
            async with asyncio.timeout(deadline_s):
                return await engine.run(lambda connection: _read(connection, url.shown, clock))
        finally:
            await engine.close()
    except PermissionError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as exc:
        said = f"no answer within {deadline_s:g} s" if isinstance(exc, TimeoutError) else _words(exc)
        return StoreLook(url.shown, why_not=said)


def _sqlite(url: StoreUrl, clock: Clock, deadline_s: float) -> StoreLook:
    from sqlalchemy import create_engine

    if not Path(url.path).exists():
        return StoreLook(url.shown, exists=False)
    if not os.access(url.path, os.R_OK):
        raise PermissionError(errno.EACCES, "", url.path)

    def opened() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(url.path)}?mode=ro", uri=True, timeout=deadline_s / 2)

    engine = create_engine("sqlite://", creator=opened)
    try:
        with closing(engine.connect()) as connection:
            return _read(connection, url.shown, clock)
    finally:
        engine.dispose()


def _read(connection: "Connection", shown: str, clock: Clock) -> StoreLook:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import func, inspect, or_, select

    from cortex.gateway.store.moment import database_now
    from cortex.gateway.store.schema import API_KEY
    from cortex.gateway.store.schema_version import alembic_config

    began_s = clock.now_s()
    now_s = connection.execute(select(database_now(connection.dialect.name))).scalar_one()
    took_s = clock.now_s() - began_s
    here = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(alembic_config())
    keys = None
    if inspect(connection).has_table(API_KEY.name):
        column = API_KEY.c
        holds = (column.revoked_s.is_(None), or_(column.expires_s.is_(None), column.expires_s > now_s))
        keys = connection.execute(select(func.count()).select_from(API_KEY).where(*holds)).scalar_one()
    return StoreLook(
        shown,
        here=here,
        newest=scripts.get_current_head(),
        is_known=here is None or here in {script.revision for script in scripts.walk_revisions()},
        keys=keys,
        skew_s=float(now_s) - clock.epoch_s(),
        took_s=took_s,
    )


def _words(exc: Exception) -> str:
    """Return the driver's own words, on one line, without SQLAlchemy's, which may name the URL."""
    said = str(getattr(exc, "orig", None) or exc).strip()
    return said.splitlines()[0] if said else type(exc).__name__


def judge_reach(look: StoreLook | None) -> Finding:
    """Whether it answers."""
    if look is None:
        return ok(NO_STORE)
    if not look.exists:
        return ok(f"{look.shown} is not there yet: the first gateway makes it")
    if look.lacks_library:
        return fail(look.why_not, "the gateway does not start", "pip install 'cortex-gateway[store]'")
    if look.why_not:
        means = "requests go on; keys that are new are not known, and usage is lost when it does not come back"
        return fail(f"{look.shown}: {look.why_not}", means, "correct [store] url, or start the database")
    return ok(f"{look.shown} answers")


def judge_schema(look: StoreLook | None) -> Finding:
    """Whether its tables are those of this version."""
    if look is None or look.why_not or not look.exists:
        return skipped(NO_STORE if look is None else "the store was not read")
    if look.here is None:
        return ok("it is empty: the first gateway makes its tables")
    if not look.is_known:
        means = "a newer version has been there; what it has added does not disturb this one for one release"
        return warn(f"its schema {look.here} is newer than {look.newest}", means, "dnf upgrade cortex")
    if look.here != look.newest:
        return ok(f"its schema is {look.here}: the next gateway that starts makes it {look.newest}")
    return ok(f"its schema is {look.here}, the newest")


def judge_store_clock(look: StoreLook | None, url: StoreUrl | None) -> Finding:
    """Whether its clock, by which keys and claims end, agrees with this one."""
    if look is None or url is None or look.why_not or not look.exists:
        return skipped(NO_STORE if look is None else "the store was not read")
    if url.backend == "sqlite":
        return ok("it goes by this host's clock")
    return judge_skew(look.skew_s, look.shown, look.took_s)


def judge_place(disk: Disk, file: Path) -> Finding:
    """Whether SQLite can do what it has to where its file is: it shares memory with other processes of this host."""
    said = f"{file} is on {disk.kind or 'an unknown file system'}"
    if is_networked(disk.kind):
        means = "SQLite's write-ahead log does not work over a network: the file will be damaged"
        return fail(said, means, "put it on a disk of this host, or use postgresql:// ([store] url)")
    if disk.kind in IN_MEMORY:
        return warn(said, "keys and usage are gone after a restart of this host", "put it below /var/lib/cortex")
    return ok(said)

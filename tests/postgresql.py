"""A real PostgreSQL server for tests: in a folder of its own, on a free port, without syncing, gone with its test.

The server refuses to run as root; then it runs as the user ``postgres``, or ``nobody``.
"""

import asyncio
import contextlib
import itertools
import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
from tests.port import free_port

LIMIT_S = 60
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
"""Where Debian and PostgreSQL's own packages keep what is not for everybody's PATH."""

QUICK = ("fsync=off", "full_page_writes=off", "max_connections=50", "shared_buffers=16MB")
"""Safe against the death of the server, which tests cause, and not against that of the host."""


def program(name: str) -> str | None:
    """Return where one of the server's programs is."""
    found = sorted(str(path) for place in PLACES for path in Path("/").glob(f"{place[1:]}/{name}"))
    return shutil.which(name) or (found[-1] if found else None)


def is_installed() -> bool:
    return program("initdb") is not None and program("postgres") is not None


class PostgreSQL:
    """One server. ``stop``, ``start``, ``freeze`` and ``thaw`` may be called at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://cortex@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        asyncio.run(self._execute(f"CREATE DATABASE {name}"))
        return self.url(name)

    def make(self) -> None:
        """Write the files of an empty server."""
        self._run(str(program("initdb")), "-D", str(self.folder / "data"), "-U", "cortex", "-A", "trust", "--no-sync")

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = (*QUICK, "listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.folder}")
        argv = [str(program("postgres")), "-D", str(self.folder / "data")]
        argv += [word for option in options for word in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdout=log, stderr=log, start_new_session=True, cwd=self.folder, **_as_nobody_special()
            )
        limit = time.monotonic() + LIMIT_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < limit, (self.folder / "log").read_text()
            select.select([], [], [], 0.01)

    def stop(self) -> None:
        """End it at once, with whatever is connected."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(LIMIT_S)
            self._process = None

    def freeze(self) -> None:
        """Let it and everything that serves a connection stand still: it takes connections and says nothing."""
        assert self._process is not None
        for pid in (self._process.pid, *_children(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        for pid in (*_children(self._process.pid), self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            asyncio.run(self._execute("SELECT 1"))
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url(), timeout=LIMIT_S)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _run(self, *argv: str) -> None:
        done = subprocess.run(
            argv, capture_output=True, text=True, cwd=self.folder, check=False, **_as_nobody_special()
        )
        assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def running() -> Iterator[PostgreSQL]:
    """Run a server; nothing of it is left when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="cortex-postgresql-"))
    try:
        owner = _as_nobody_special().get("user")
        if owner is not None:
            shutil.chown(folder, user=str(owner))
        server = PostgreSQL(folder)
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _as_nobody_special() -> dict[str, object]:
    """Return how to start a program as a user that the server accepts."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_name, "group": entry.pw_gid, "extra_groups": []}


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]

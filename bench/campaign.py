"""One run: install and start every gateway, then measure case by case, the gateways in turn within each round.

All gateways are up the whole time, each idle while another is measured, so that a round of one lies seconds beside the
same round of the others and the neighbours' noise falls on all of them.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.book import Book
from bench.build import Programs
from bench.case.interface import Bench, Case
from bench.load import Load, LoadError
from bench.option import Options
from bench.peer.interface import Peer, Running, Site, UnavailableError, settle
from bench.place import Cores
from bench.upstream import Upstream


@contextlib.contextmanager
def equipment(programs: Programs, cores: Cores) -> Iterator[tuple[Upstream, Load, Path]]:
    """Give the upstream, the client and a folder for logs; nothing of them is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="cortex-bench-") as name:
        folder = Path(name)
        upstream = Upstream(programs.upstream, cores.upstream, folder)
        try:
            yield upstream, Load(programs.client, cores.client, upstream, folder), folder
        finally:
            upstream.child.stop()


class Campaign:
    """What is measured, and with what; ``book`` and ``versions`` fill up."""

    def __init__(self, programs: Programs, cores: Cores, options: Options) -> None:
        self._programs, self._cores, self._options = programs, cores, options
        self.book = Book()
        self.versions: dict[str, str] = {}

        self._installed: list[Peer] = []

    def install(self, peers: Sequence[Peer]) -> None:
        """Get the gateways that can be had, and note why the others cannot."""
        self._installed = [peer for peer in peers if self._is_installed(peer)]

    def run(self, cases: Sequence[Case]) -> None:
        """Measure each case on each installed gateway."""
        with equipment(self._programs, self._cores) as (upstream, load, folder), contextlib.ExitStack() as stack:
            bench = Bench(load, upstream, self.book, self._options.is_quick)
            gateways = []
            for peer in self._installed:
                running = self._started(peer, folder, upstream.port)
                if running is not None:
                    stack.callback(running.stop)
                    gateways.append(running)
            for case in cases:
                self._measure(case, bench, gateways)

    def _is_installed(self, peer: Peer) -> bool:
        try:
            self.versions[peer.name] = peer.install()
        except UnavailableError as reason:
            self._miss(peer.name, str(reason))
        return peer.name in self.versions

    def _started(self, peer: Peer, folder: Path, upstream_port: int) -> Running | None:
        """Start a gateway, in a whole run several times for the sake of its start; the last one stays."""
        running = None
        for number in range(peer.starts if self._options.is_whole else 1):
            if running is not None:
                running.stop()
            home = folder / f"{peer.name}-{number}".replace(" ", "-")
            home.mkdir()
            try:
                running = peer.start(Site(home, upstream_port, self._cores))
            except UnavailableError as reason:
                self._miss(peer.name, str(reason))
                return None
            self.book.add(peer.name, "ready_s", running.ready_s)
            self.book.add(peer.name, "rss_start_mib", running.child.rss_kib() / 1024)
            print(f"{peer.name}: ready after {running.ready_s:.2f} s", flush=True)
        return running

    def _measure(self, case: Case, bench: Bench, gateways: Sequence[Running]) -> None:
        count = self._options.rounds or (1 if self._options.is_quick else case.rounds)
        for number in range(1, count + 1):
            print(f"{case.name} {number}/{count}:", end="", flush=True)
            for gateway in gateways:
                print(f" {gateway.name}", end="", flush=True)
                settle(gateway.child)
                began_s = time.monotonic()
                if not gateway.child.is_running():
                    self._miss(gateway.name, f"ended before `{case.name}`: {gateway.child.last_words(1)}")
                    continue
                try:
                    case.measure(bench, gateway)
                except LoadError as error:
                    self.book.remark(gateway.name, f"`{case.name}`: {error}")
                self.book.add(gateway.name, "rss_end_mib", gateway.child.rss_kib() / 1024)
                print(f" {time.monotonic() - began_s:.0f}s", end="", flush=True)
            print(flush=True)

    def _miss(self, name: str, reason: str) -> None:
        self.book.missing[name] = reason
        print(f"{name}: {reason}", flush=True)

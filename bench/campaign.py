"""One run: install and start every gateway, then measure case by case, the gateways in turn within each round.

All gateways are up the whole time, each idle while another is measured, so that a round of one lies seconds beside the
same round of the others and the neighbours' noise falls on all of them.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.book import Book
from bench.build import Programs
from bench.case.interface import Bench, Case
from bench.load import Load
from bench.option import Options
from bench.peer.interface import Peer, Running, Site, UnavailableError
from bench.place import Cores
from bench.upstream import Upstream


class Outcome(NamedTuple):
    """What a run has shown; ``versions`` by gateway."""

    book: Book
    versions: dict[str, str]


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


def run(programs: Programs, cores: Cores, options: Options, peers: Sequence[Peer], cases: Sequence[Case]) -> Outcome:
    """Measure what the options ask for."""
    book, versions = Book(), {}
    for peer in peers:
        try:
            versions[peer.name] = peer.install()
        except UnavailableError as reason:
            book.missing[peer.name] = str(reason)
    with equipment(programs, cores) as (upstream, load, folder), contextlib.ExitStack() as stack:
        bench = Bench(load, upstream, book, options.is_quick)
        gateways = list(
            _started(book, [peer for peer in peers if peer.name in versions], folder, cores, bench, stack, options)
        )
        for case in cases:
            _measure(case, bench, gateways, options.rounds)
    return Outcome(book, versions)


def _started(
    book: Book,
    peers: Sequence[Peer],
    folder: Path,
    cores: Cores,
    bench: Bench,
    stack: contextlib.ExitStack,
    options: Options,
) -> Iterator[Running]:
    for peer in peers:
        starts = peer.starts if options.is_whole else 1
        for number in range(1, starts + 1):
            home = folder / f"{peer.name}-{number}".replace(" ", "-")
            home.mkdir()
            try:
                running = peer.start(Site(home, bench.upstream.port, cores))
            except UnavailableError as reason:
                book.missing[peer.name] = str(reason)
                print(f"{peer.name}: {reason}", flush=True)
                break
            book.add(peer.name, "ready_s", running.ready_s)
            if number < starts:
                running.stop()
                continue
            stack.callback(running.stop)
            book.add(peer.name, "rss_start_mib", running.child.rss_kib() / 1024)
            print(f"{peer.name}: ready after {running.ready_s:.2f} s", flush=True)
            yield running


def _measure(case: Case, bench: Bench, gateways: Sequence[Running], rounds: int | None) -> None:
    count = rounds or (1 if bench.is_quick else case.rounds)
    for number in range(1, count + 1):
        print(f"{case.name} {number}/{count}:", end="", flush=True)
        for gateway in gateways:
            print(f" {gateway.name}", end="", flush=True)
            if not gateway.child.is_running():
                bench.book.missing[gateway.name] = f"died before `{case.name}`: {gateway.child.last_words(3)}"
                continue
            case.measure(bench, gateway)
        print(flush=True)

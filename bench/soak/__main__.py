"""``python -m bench.soak --minutes 30 --streams 500``: runs a soak, writes ``bench/SOAK.md``, and judges.

Everything is on loopback, bounded in time and in number. The exit code is 1 when memory or descriptors were not flat,
something was still counted at the end, or a request failed that should not have.
"""

import argparse
import asyncio
import contextlib
import datetime
import itertools
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from random import Random

from bench.build import BENCH
from bench.place import machine
from bench.soak.client import KINDS, Crowd
from bench.soak.sample import Sample, look
from bench.soak.site import Site
from bench.soak.verdict import Crash, Finding, counts, errors, flatness, rest
from bench.table import markdown

EVERY_S = 1.0
CRASH_EVERY_S = 45.0
"""Between two deaths of engines: one upstream, the other one, the llama.cpp, and so on."""
RAMP_S = 10.0
END_S = 120.0
"""Within this, once nobody asks any more, everything must be at rest."""


class Soak:
    """One run."""

    def __init__(self, site: Site, streams: int, rng: Random) -> None:
        self.crowd = Crowd(site.port, streams, rng)
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.before: dict[str, Sample] = {}
        self.after: dict[str, Sample] = {}
        self.metrics: dict[str, float] = {}
        self.crashes: list[Crash] = []
        self.most_open = 0
        self._site = site

    async def run(self, seconds: float) -> None:
        """Let the crowd in for so long, and wait until all is at rest."""
        self.before = self._look()
        running = asyncio.create_task(self.crowd.run(RAMP_S))
        watching = asyncio.create_task(self._watch())
        breaking = asyncio.create_task(self._break())
        await asyncio.wait((running,), timeout=seconds)
        for task in (watching, breaking):
            task.cancel()
        self.crowd.end()
        await running
        await self._until_at_rest()
        self.after = self._look()

    def _look(self) -> dict[str, Sample]:
        found = {name: look(child) for name, child in self._site.processes.items()}
        gone = [name for name, sample in found.items() if sample is None]
        if gone:
            raise SystemExit(f"bench: {', '.join(gone)} ended in the middle of the soak")
        return {name: sample for name, sample in found.items() if sample is not None}

    async def _watch(self) -> None:
        await asyncio.sleep(RAMP_S)
        while True:
            for name, sample in self._look().items():
                self.samples[name].append(sample)
            self.most_open = max(self.most_open, self.crowd.open)
            await asyncio.sleep(EVERY_S)

    async def _break(self) -> None:
        await asyncio.sleep(RAMP_S)
        for number in itertools.cycle((0, 2, 1, 2)):
            await asyncio.sleep(CRASH_EVERY_S)
            if number == 2:
                if self._site.crash_llama():
                    self.crashes.append(Crash(time.monotonic(), "tiny"))
                    await asyncio.sleep(EVERY_S)
                    await asyncio.to_thread(self._site.put_failure_away)
            else:
                self.crashes.append(Crash(time.monotonic(), "bench"))
                self._site.crash_upstream(number)

    async def _until_at_rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                while True:
                    self.metrics = await asyncio.to_thread(self._site.metrics)
                    descriptors = {name: sample.descriptors for name, sample in self._look().items()}
                    is_closed = all(count <= self.before[name].descriptors + 8 for name, count in descriptors.items())
                    if is_closed and all(finding.is_good for finding in counts(self.metrics)):
                        return
                    await asyncio.sleep(EVERY_S)


def report(soak: Soak, findings: list[Finding], args: argparse.Namespace, took_s: float) -> str:
    """Return what is written to ``SOAK.md``."""
    crowd = soak.crowd
    asked = sum(crowd.outcomes.values())
    rows = [["clients", "of 100", "done", "left", "failed for a crash"]]
    for kind in KINDS:
        ends = [str(crowd.outcomes[kind.name, what]) for what in ("done", "left", "odd")]
        rows.append([kind.name, str(kind.share), *ends])
    judged = [["what", "figure", "verdict"], *([one.what, one.figure, _verdict(one)] for one in findings)]
    lines = [
        "# Soak",
        "",
        f"`python -m bench.soak --minutes {args.minutes:g} --streams {args.streams}`: one gateway, three nodes, "
        f"{soak.most_open} requests open at a time, {asked:,} in all; {len(soak.crashes)} times an engine was killed. "
        "Figures are means of the second fifth of the time and of its last.",
        "",
        f"* date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, took {took_s / 60:.0f} min",
        *(f"* {what}: {value}" for what, value in machine().items()),
        "",
        *markdown(rows),
        "",
        *markdown(judged),
        "",
    ]
    return "\n".join(lines)


def _verdict(finding: Finding) -> str:
    return "good" if finding.is_good else "**missed**"


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loop", choices=("auto", "asyncio", "uvloop"), default="auto")
    parser.add_argument("--output", type=Path, default=BENCH / "SOAK.md")
    parser.add_argument("--keep", type=Path, help="leave logs and files here")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit that ends what was started
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as undo:
        folder = args.keep or Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        began_s = time.monotonic()
        site = Site(folder.absolute(), args.loop)
        undo.callback(site.stop)
        soak = Soak(site, args.streams, Random(args.seed))
        asyncio.run(soak.run(args.minutes * 60))
        findings = [
            *flatness(soak.samples),
            *rest(soak.before, soak.after),
            *counts(soak.metrics),
            *errors(soak.crowd.odd, soak.crashes, list(site.complaints())),
        ]
        text = report(soak, findings, args, time.monotonic() - began_s)
    args.output.write_text(text)
    print(text)
    return int(not all(finding.is_good for finding in findings))


if __name__ == "__main__":
    sys.exit(main())

"""``python -m bench``: what ``bench/run`` starts."""

import os
import signal
import sys
import time
from dataclasses import replace

from bench import check, option, report
from bench.build import BUILD, build
from bench.campaign import Campaign
from bench.case.agent import Agent
from bench.case.chunk import Chunk
from bench.case.interface import Case
from bench.case.killed import Killed
from bench.case.latency import Latency
from bench.case.memory import Memory
from bench.case.request import Request
from bench.case.slow_reader import SlowReader
from bench.case.translated import Translated
from bench.peer.lineup import PEERS
from bench.place import Strangers, choose_cores

CASES: tuple[Case, ...] = (
    Memory(),  # first: a process that has worked has free memory, and 2,000 streams then seem to need none
    Request(),
    Chunk(),
    Translated(),
    Agent(),
    Latency(50),
    Latency(80),
    SlowReader(),
    Killed(),
)


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit that ends what was started
    options = option.options([peer.name for peer in PEERS], [case.name for case in CASES])
    programs, cores = build(), choose_cores()
    if options.is_self_test:
        return check.run(programs, cores)
    started_s, strangers = time.monotonic(), Strangers()
    peers = [peer for peer in PEERS if options.wants(peer.name)]
    cases = [case for case in CASES if not options.cases or case.name in options.cases]
    campaign = Campaign(programs, cores, options)
    campaign.install(peers)
    if options.is_urgent:
        # Everything that is started inherits it. Round robin, because upstream and client may share a core.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        campaign.run(cases)
    except KeyboardInterrupt:
        print("\ninterrupted: what was measured until now", flush=True)
        options = replace(options, output=None)
    campaign.book.save(BUILD / "values.json")
    took = report.Took((time.monotonic() - started_s) / 60, strangers.share())
    text = report.written(campaign, peers, cases, cores, options, took)
    print(text)
    if options.output:
        options.output.write_text(text)
        print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m bench``: what ``bench/run`` starts."""

import sys
import time

from bench import campaign, check, option, report
from bench.build import BUILD, build
from bench.case.chunk import Chunk
from bench.case.interface import Case
from bench.case.killed import Killed
from bench.case.latency import Latency
from bench.case.memory import Memory
from bench.case.request import Request
from bench.case.slow_reader import SlowReader
from bench.peer.lineup import PEERS
from bench.place import Strangers, choose_cores

CASES: tuple[Case, ...] = (Request(), Chunk(), Latency(50), Latency(80), Memory(), SlowReader(), Killed())


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = option.options([peer.name for peer in PEERS], [case.name for case in CASES])
    programs, cores = build(), choose_cores()
    if options.is_self_test:
        return check.run(programs, cores)
    started_s, strangers = time.monotonic(), Strangers()
    peers = [peer for peer in PEERS if options.wants(peer.name)]
    cases = [case for case in CASES if not options.cases or case.name in options.cases]
    outcome = campaign.run(programs, cores, options, peers, cases)
    outcome.book.save(BUILD / "values.json")
    text = report.written(outcome, peers, cases, cores, options, time.monotonic() - started_s, strangers.share())
    print(text)
    if options.output:
        options.output.write_text(text)
        print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

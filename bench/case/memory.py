"""Memory per open stream: what 2,000 streams add to the resident memory of the gateway's processes.

A first batch is opened and closed before, so that what a process keeps anyway (arenas, code) is not counted.
"""

import time

from bench.case.interface import Bench
from bench.load import UNLIMITED
from bench.peer.interface import Running

WARM_STREAMS = 50
SETTLE_S = 1.0


class Memory:
    name = "memory"
    about = "2,000 streams open at once, a chunk every 5 s each (LiteLLM: 500, 60 s); resident memory added, per stream"
    rounds = 1

    def measure(self, bench: Bench, gateway: Running) -> None:
        self._open(bench, gateway, WARM_STREAMS)
        time.sleep(SETTLE_S)
        before_kib = gateway.child.rss_kib()
        opened, with_kib = self._open(bench, gateway, gateway.pace.open_streams)
        if opened < gateway.pace.open_streams:
            bench.book.remark(gateway.name, f"{opened} of {gateway.pace.open_streams} streams could be opened")
        if opened:
            bench.book.add(gateway.name, "stream_kib", (with_kib - before_kib) / opened)
        time.sleep(SETTLE_S)
        bench.book.add(gateway.name, "rss_after_mib", gateway.child.rss_kib() / 1024)

    def _open(self, bench: Bench, gateway: Running, streams: int) -> tuple[int, int]:
        """Return how many streams were open, and the memory then."""
        with bench.load.held(
            gateway,
            connections=streams,
            chunks=UNLIMITED,
            interval_us=gateway.pace.idle_interval_s * 1e6,
            pending=gateway.pace.opening,
            warmup=0,
            seconds=2 * SETTLE_S,
        ) as held:
            time.sleep(SETTLE_S)
            rss_kib = gateway.child.rss_kib()
            bench.book.failures[gateway.name] += held.result().failures()
            return held.opened, rss_kib

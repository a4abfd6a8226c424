"""Slow readers: streams of 20 MB as fast as the upstream can, whose reader takes 512 bytes ten times a second.

A gateway without back-pressure buffers them (memory per slow reader), and one that waits for a single client lets the
others wait too (added gap of the streams beside them).
"""

import time

from bench.case.interface import Bench
from bench.load import UNLIMITED
from bench.peer.interface import Running

DIRECT_STREAMS = 20
WARMUP_S = 1.0


class SlowReader:
    name = "slow"
    about = (
        "20 readers of 5 KB/s on streams of 20 MB (LiteLLM: 2 of 0.4 MB), beside a quarter of the streams of `chunk`"
    )
    rounds = 1

    def measure(self, bench: Bench, gateway: Running) -> None:
        seconds = bench.either(2.0, 4.0)
        before_kib = gateway.child.rss_kib()
        with bench.load.held(
            gateway,
            connections=max(1, gateway.pace.streams // 4),
            slow=gateway.pace.slow_readers,
            slow_chunks=gateway.pace.slow_chunks,
            direct=DIRECT_STREAMS,
            chunks=UNLIMITED,
            interval_us=10_000,
            pending=gateway.pace.opening,
            warmup=WARMUP_S,
            seconds=seconds,
        ) as held:
            # With the result the client ends, and its slow readers with it.
            time.sleep(WARMUP_S + seconds - 0.2)
            grown_kib = gateway.child.rss_kib() - before_kib
            bench.book.add(gateway.name, "slow_kib", grown_kib / gateway.pace.slow_readers)
            reading = held.result()
        bench.book.failures[gateway.name] += reading.failures()
        bench.book.add(gateway.name, "slow_gap_p99_us", reading.added_us("gap", "p99"))

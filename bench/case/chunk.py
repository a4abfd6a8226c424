"""CPU time per streamed chunk: hundreds of streams, 100 chunks a second each, their beats spread over the interval.

The window lies where all streams are open, so it holds chunks and nothing else. The offered load is the same for all
that carry it; who cannot is measured with fewer streams.
"""

from bench.case.interface import Bench
from bench.load import UNLIMITED
from bench.peer.interface import Running

INTERVAL_US = 10_000
DIRECT_STREAMS = 10
"""Streams straight to the upstream beside them; they cost the load side, not the gateway."""


class Chunk:
    name = "chunk"
    about = "200 streams of 100 chunks/s held open (LiteLLM: 5); CPU time of the gateway's processes per chunk"
    rounds = 5

    def measure(self, bench: Bench, gateway: Running) -> None:
        reading = bench.load.run(
            gateway,
            "hold",
            connections=gateway.pace.streams,
            direct=DIRECT_STREAMS,
            chunks=UNLIMITED,
            interval_us=INTERVAL_US,
            pending=gateway.pace.opening,
            warmup=0.5,
            seconds=2.0,
        )
        bench.book.failures[gateway.name] += reading.failures()
        chunks = reading.count("chunks")
        offered = gateway.pace.streams * reading.window_s * 1e6 / INTERVAL_US
        if chunks < 0.95 * offered:
            bench.book.remark(gateway.name, f"carried {chunks / offered:.0%} of the chunks offered in `chunk`")
        if not chunks:
            return
        bench.book.add(gateway.name, "chunk_busy", reading.gateway_cpu_us / 1e6 / reading.window_s)
        bench.book.add(gateway.name, "chunk_us", reading.gateway_cpu_us / chunks)
        total = chunks + reading.count("chunks", "direct")
        bench.book.add(gateway.name, "load_chunk_us", reading.load_cpu_us / total)
        bench.book.add(gateway.name, "chunk_delay_p50_us", reading.added_us("delay", "p50"))
        bench.book.add(gateway.name, "chunk_delay_p99_us", reading.added_us("delay", "p99"))

"""Added latency in open loop at 50 % and 80 % of what a gateway's core carries, gateway and direct interleaved.

Arrivals are a Poisson process and a request's clock starts when it was due, so queueing counts. "Added" is the quantile
via the gateway minus the same quantile of the direct requests in between. The rate follows from the gateway's own cost
(cases ``request`` and ``chunk``); where the load side's core could not carry it, it is lowered and the row says so.
"""

from dataclasses import dataclass

from bench.case.interface import Bench
from bench.load import Reading
from bench.peer.interface import Running

CHUNKS = 100
INTERVAL_US = 10_000
CONNECTIONS = 128
"""For unstreamed requests, as in a caller's pool; who is due while all are busy waits, and its clock runs."""

CEILINGS = {"requests": 0.5, "streams": 0.8}
"""Share of its core that upstream and client may take before their own queue hides the gateway's.

Lower for requests: their cost to the load side is known from closed loop, where a full queue makes it cheap.
"""

STREAM_OPENING_FACTOR = 1.5
"""What a stream costs a gateway before its chunks, in unstreamed requests; only the choice of rate depends on it."""


@dataclass(frozen=True)
class Latency:
    """One level of load."""

    percent: int
    rounds: int = 2

    @property
    def name(self) -> str:
        return f"load{self.percent}"

    @property
    def about(self) -> str:
        return f"open loop at {self.percent} % of the gateway's core, unstreamed and streams of {CHUNKS} chunks"

    def measure(self, bench: Bench, gateway: Running) -> None:
        request_us = bench.book.median(gateway.name, "request_1_us")
        chunk_us = bench.book.median(gateway.name, "chunk_us")
        if request_us is None or chunk_us is None:
            bench.book.remark(gateway.name, f"no `{self.name}` without the figures of `request` and `chunk`")
            return
        load_request_us = bench.book.median(gateway.name, "load_1_us") or 0.0
        load_chunk_us = bench.book.median(gateway.name, "load_chunk_us") or 0.0
        self._unary(bench, gateway, request_us, load_request_us)
        stream_us = request_us * STREAM_OPENING_FACTOR + CHUNKS * chunk_us
        self._stream(bench, gateway, stream_us, load_request_us + CHUNKS * load_chunk_us)

    def _unary(self, bench: Bench, gateway: Running, cost_us: float, load_us: float) -> None:
        reading = self._run(bench, gateway, "requests", cost_us, load_us, chunks=0, connections=CONNECTIONS)
        for quantile in ("p50", "p99"):
            self._add(bench, gateway, f"unary_{quantile}_us", reading.added_us("latency", quantile))
            self._add(bench, gateway, f"unary_direct_{quantile}_us", reading.quantile_us("latency", quantile, "direct"))
        self._add(bench, gateway, "unary_per_s", reading.samples("latency") / reading.window_s)

    def _stream(self, bench: Bench, gateway: Running, cost_us: float, load_us: float) -> None:
        reading = self._run(bench, gateway, "streams", cost_us, load_us, chunks=CHUNKS, interval_us=INTERVAL_US)
        for quantile in ("p50", "p99"):
            for measure in ("first", "gap"):
                self._add(bench, gateway, f"{measure}_{quantile}_us", reading.added_us(measure, quantile))
                direct = reading.quantile_us(measure, quantile, "direct")
                self._add(bench, gateway, f"{measure}_direct_{quantile}_us", direct)
        self._add(bench, gateway, "chunks_per_s", reading.count("chunks") / reading.window_s)

    def _run(
        self, bench: Bench, gateway: Running, what: str, cost_us: float, load_us: float, **options: float
    ) -> Reading:
        direct_share = 0.1 if gateway.pace.is_common else 0.5
        wanted = self.percent / 100 * 1e6 / cost_us
        # The load side has to carry the direct ones too.
        bearable = CEILINGS[what] * 1e6 / load_us * (1 - direct_share) if load_us else wanted
        if bearable < wanted:
            share = bearable * cost_us / 1e6
            bench.book.remark(
                gateway.name, f"`{self.name}` {what}: {share:.0%} of its core is all that the load side carries"
            )
        rate = min(wanted, bearable) / (1 - direct_share)
        seconds = bench.either(2.5, 5.0) * (1.0 if gateway.pace.is_common else 2.0)
        reading = bench.load.run(
            gateway, "open", rate=rate, direct=direct_share * 1000, warmup=1.5, seconds=seconds, **options
        )
        bench.book.failures[gateway.name] += reading.failures()
        return reading

    def _add(self, bench: Bench, gateway: Running, measure: str, value: float) -> None:
        bench.book.add(gateway.name, f"{self.name}_{measure}", value)

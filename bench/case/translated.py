"""CPU time per streamed chunk where clients speak another dialect than the upstream, beside nginx that only relays.

nginx is asked for the same stream in the upstream's own dialect, in the same round: what it costs there is the limit.
Half as many streams as in ``chunk``, so that one core carries a translation as well.
"""

from bench.case.chunk import DIRECT_STREAMS, INTERVAL_US
from bench.case.interface import Bench
from bench.dialect import OPENAI, TRANSLATED, Dialect, encoded, orders
from bench.goal import LIMIT
from bench.load import UNLIMITED, Reading
from bench.peer.interface import Running

STREAMS = 100


class Translated:
    name = "translated"
    about = (
        f"{STREAMS} streams of 100 chunks/s (LiteLLM: 5) for clients of other dialects, the upstream's chunks all the "
        "same; CPU time per chunk. nginx relays them untranslated"
    )
    rounds = 3

    def measure(self, bench: Bench, gateway: Running) -> None:
        if gateway.name == LIMIT:
            chunk_us = self._chunk_us(bench, gateway, OPENAI, OPENAI.path)
            for dialect in TRANSLATED:
                self._add(bench, gateway, dialect, chunk_us)
            return
        for dialect in TRANSLATED:
            path = gateway.paths.get(dialect.name)
            if path is None:
                bench.book.remark(gateway.name, f"no figure of {dialect.title}: {gateway.why_not(dialect.name)}")
            else:
                self._add(bench, gateway, dialect, self._chunk_us(bench, gateway, dialect, path))

    def _chunk_us(self, bench: Bench, gateway: Running, dialect: Dialect, path: str) -> float | None:
        words = orders(UNLIMITED, INTERVAL_US, is_spread=True) + "hello"
        streams = min(STREAMS, gateway.pace.streams)
        reading = bench.load.run(
            gateway,
            "hold",
            connections=streams,
            direct=DIRECT_STREAMS,
            chunks=UNLIMITED,
            interval_us=INTERVAL_US,
            pending=gateway.pace.opening,
            warmup=0.5,
            seconds=2.0,
            path=path,
            end=dialect.end,
            body_file=bench.load.keep(f"{dialect.name}.json", encoded(dialect.body(words))),
        )
        bench.book.failures[gateway.name] += reading.failures()
        return _checked(bench, gateway, dialect, reading, streams)

    def _add(self, bench: Bench, gateway: Running, dialect: Dialect, chunk_us: float | None) -> None:
        if chunk_us is not None:
            bench.book.add(gateway.name, f"{dialect.name}_chunk_us", chunk_us)


def _checked(bench: Bench, gateway: Running, dialect: Dialect, reading: Reading, streams: int) -> float | None:
    """Return what a chunk cost; None where none came."""
    chunks, offered = reading.count("chunks"), streams * reading.window_s * 1e6 / INTERVAL_US
    if chunks < 0.95 * offered:
        told = f"carried {chunks / offered:.0%} of the chunks offered in {dialect.title}"
        bench.book.remark(gateway.name, f"{told} ({_outcomes(reading)})" if reading.failures() else told)
    return reading.gateway_cpu_us / chunks if chunks else None


def _outcomes(reading: Reading) -> str:
    status = reading.raw["gateway"]["last_bad_status"]
    found = ", ".join(f"{count} {name}" for name, count in reading.failures().items() if count)
    return f"{found}, last status {status}" if status else found

"""The upstream is killed under running streams and started again on the same port.

How do the streams end (told in the stream, cut without a word, or like a good one), how soon, what do new requests get
meanwhile, and how soon is all well again.
"""

import time

from bench.case.interface import Bench
from bench.load import UNLIMITED
from bench.peer.interface import KEY, MODEL, Running
from bench.port import chat_body, status_of

STREAMS = 50
HOLD_S = 4.0
RECOVERY_S = 60.0


class Killed:
    name = "killed"
    about = f"SIGKILL to the upstream under {STREAMS} streams (LiteLLM: 5)"
    rounds = 1

    def measure(self, bench: Bench, gateway: Running) -> None:
        if recovered_after_s(gateway) is None:  # the case before this one killed the same upstream
            bench.book.remark(gateway.name, "not asked in `killed`: no longer well after what came before")
            return
        streams = min(STREAMS, gateway.pace.streams)
        with bench.load.held(
            gateway,
            connections=streams,
            chunks=UNLIMITED,
            interval_us=10_000,
            pending=gateway.pace.opening,
            warmup=0,
            seconds=HOLD_S,
        ) as held:
            time.sleep(0.5)
            killed_ns = time.monotonic_ns()
            bench.upstream.child.kill()
            status = status_of(gateway.port, "/v1/chat/completions", timeout_s=10, body=chat_body(MODEL), key=KEY)
            reading = held.result()
        bench.upstream.restart()
        outcomes = reading.outcomes()
        ended = sum(outcomes.values())
        bench.book.add(gateway.name, "killed_streams", held.opened)
        bench.book.add(gateway.name, "killed_told", outcomes["in_band"])
        bench.book.add(gateway.name, "killed_cut", outcomes["cut"])
        bench.book.add(gateway.name, "killed_silent", outcomes["silent"])
        bench.book.add(gateway.name, "killed_hanging", held.opened - ended)
        bench.book.add(gateway.name, "killed_status", status)
        if ended:
            end_ms = (reading.quantile_us("ends", "p99") * 1e3 - killed_ns) / 1e6
            bench.book.add(gateway.name, "killed_end_p99_ms", end_ms)
        after_s = recovered_after_s(gateway)
        if after_s is None:
            bench.book.remark(gateway.name, f"did not come back within {RECOVERY_S:.0f} s of the upstream's return")
        else:
            bench.book.add(gateway.name, "killed_back_ms", after_s * 1e3)


def recovered_after_s(gateway: Running) -> float | None:
    """Return how long it took until a request was answered 200 again, None when it never was."""
    begin_s = time.monotonic()
    while (passed_s := time.monotonic() - begin_s) < RECOVERY_S:
        if status_of(gateway.port, "/v1/chat/completions", body=chat_body(MODEL), key=KEY) == 200:
            return passed_s
        time.sleep(0.02)
    return None

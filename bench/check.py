"""``bench/run --self-test``: the load client straight on the upstream. Counts are exact, nothing fails that should not,
and what should fail is told by its right name. A harness that cannot do that measures nothing.
"""

from bench.agent import agent_request
from bench.build import Programs
from bench.campaign import equipment
from bench.dialect import ANTHROPIC, OPENAI, encoded, orders
from bench.load import Load, Reading
from bench.peer.interface import Running
from bench.place import Cores
from bench.upstream import Upstream

CHUNKS = 25


def run(programs: Programs, cores: Cores) -> int:
    """Print each check with its result; return the exit code."""
    with equipment(programs, cores) as (upstream, load, _):
        target = Running("direct", upstream.port, upstream.child, 0.0)
        results = [check(load, target, upstream) for check in CHECKS]
    for (is_good, told), check in zip(results, CHECKS, strict=True):
        print(f"{'ok  ' if is_good else 'FAIL'} {check.__name__.replace('_', ' ')}: {told}")
    return 0 if all(is_good for is_good, _ in results) else 1


def closed_loop_requests_are_all_answered(load: Load, target: Running, _: Upstream) -> tuple[bool, str]:
    reading = load.run(target, "closed", connections=8, warmup=0.1, seconds=0.5)
    return not reading.failures() and reading.count("requests") > 100, _told(reading)


def large_bodies_arrive_whole(load: Load, target: Running, _: Upstream) -> tuple[bool, str]:
    reading = load.run(target, "closed", connections=4, body=3_000_000, warmup=0.1, seconds=0.5)
    return not reading.failures() and reading.count("requests") > 10, _told(reading)


def streams_bring_every_chunk_in_order(load: Load, target: Running, _: Upstream) -> tuple[bool, str]:
    reading = load.run(target, "closed", connections=20, chunks=CHUNKS, interval_us=1000, warmup=0, seconds=1)
    done = reading.count("requests")
    lowest, highest = done * CHUNKS, (done + 20) * CHUNKS
    return not reading.failures() and done > 100 and lowest <= reading.count("chunks") <= highest, _told(reading)


def chunks_come_at_their_pace(load: Load, target: Running, _: Upstream) -> tuple[bool, str]:
    reading = load.run(target, "hold", connections=20, chunks=100_000, interval_us=10_000, warmup=0.2, seconds=1)
    gap_us = reading.quantile_us("gap", "p50")
    return abs(gap_us - 10_000) < 500 and abs(
        reading.count("chunks") - 2000
    ) < 100, f"{_told(reading)}, gap {gap_us:.0f} us"


def open_loop_keeps_its_rate(load: Load, target: Running, _: Upstream) -> tuple[bool, str]:
    reading = load.run(target, "open", rate=1000, direct=500, warmup=0.2, seconds=2)
    count = reading.samples("latency") + reading.samples("latency", "direct")
    return not reading.failures() and 1700 < count < 2300, _told(reading)


def an_agents_request_is_timed_from_its_last_byte(load: Load, target: Running, _: Upstream) -> tuple[bool, str]:
    body = load.keep("agent.json", encoded(agent_request(orders(1, 0, is_spread=False))))
    reading = load.run(
        target,
        "closed",
        connections=1,
        chunks=1,
        path=OPENAI.path,
        end=OPENAI.end,
        body_file=body,
        warmup=0,
        seconds=0.5,
    )
    way_us, whole_us = reading.quantile_us("reach", "p50"), reading.quantile_us("latency", "p50")
    is_good = reading.samples("reach") > 100 and 0 < way_us < whole_us and not reading.failures()
    return is_good, f"{_told(reading)}, {way_us:.0f} us of {whole_us:.0f} us"


def a_stream_without_its_end_is_silent(load: Load, target: Running, _: Upstream) -> tuple[bool, str]:
    reading = load.run(target, "closed", connections=1, chunks=CHUNKS, end=ANTHROPIC.end, warmup=0, seconds=0.2)
    return 0 < reading.outcomes()["silent"] == reading.failures().total(), _told(reading)


def cut_streams_are_told_apart(load: Load, target: Running, _: Upstream) -> tuple[bool, str]:
    reading = load.run(
        target, "hold", connections=10, chunks=CHUNKS, interval_us=1000, cut_after=5, seconds=1, warmup=0
    )
    return reading.outcomes()["cut"] == 10 == reading.failures().total(), _told(reading)


def a_dead_upstream_is_refused(load: Load, target: Running, upstream: Upstream) -> tuple[bool, str]:
    upstream.child.kill()
    reading = load.run(target, "hold", connections=10, chunks=CHUNKS, interval_us=1000, seconds=1, warmup=0)
    upstream.restart()
    return reading.outcomes()["refused"] == 10 == reading.failures().total(), _told(reading)


def _told(reading: Reading) -> str:
    outcomes = {name: count for name, count in reading.outcomes().items() if count}
    return f"{reading.count('requests')} requests, {reading.count('chunks')} chunks, outcomes {outcomes}"


CHECKS = (
    closed_loop_requests_are_all_answered,
    large_bodies_arrive_whole,
    streams_bring_every_chunk_in_order,
    chunks_come_at_their_pace,
    open_loop_keeps_its_rate,
    an_agents_request_is_timed_from_its_last_byte,
    a_stream_without_its_end_is_silent,
    cut_streams_are_told_apart,
    a_dead_upstream_is_refused,
)

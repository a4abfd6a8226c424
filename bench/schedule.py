"""``python -m bench.schedule``: cold starts and waits on a fixed synthetic trace, against two simpler schedulers.

Three nodes, nine models of which about half fit at once, two hours of requests: agents that mix models in bursts, chats
that return, a few rare ones. ``cortex`` is its own dispatcher and neurons in the simulator (``cortex.testing.replay``);
the others are ``bench/rival.py``, whose world costs nothing but loads: no polls, no drains, no network, nothing to
protect. What is compared is who loads what when, not who is fast.
"""

import logging
import random
import sys
import time
from typing import NamedTuple

from bench.rival import Lru, OneAtATime, Played
from bench.table import markdown, number
from cortex.contract.profile import Profile
from cortex.testing.replay_fleet import ReplayFleet, ReplayNode
from cortex.testing.replay_run import Replay
from cortex.testing.replay_trace import Arrival

SPAN_S = 7200.0
SEED = 4
FLEET = ReplayFleet(
    nodes=(
        ReplayNode(name="beast", devices_mb=(32_000, 32_000)),
        ReplayNode(name="benjy", devices_mb=(24_000,)),
        ReplayNode(name="quadbrat", devices_mb=(12_000,)),
    ),
    load_mb_per_s=800.0,
)
SIZES_MB = (19_000, 19_000, 16_000, 14_000, 12_000, 11_000, 10_000, 8_000, 5_000)


class Row(NamedTuple):
    """One scheduler's figures."""

    name: str
    requests: int
    served: int
    cold_starts: int
    loads: int
    evictions: int
    p50_s: float
    p95_s: float
    max_s: float


def main() -> int:
    """Print the table for ``bench/RESULTS.md``."""
    logging.disable()
    print("\n".join(lines()))
    return 0


def lines() -> list[str]:
    """Return the table, with its heading."""
    head = ["scheduler", "served", "cold starts", "loads", "evictions", "wait p50 s", "p95 s", "longest s"]
    rows = [
        [
            row.name,
            f"{row.served:,} of {row.requests:,}",
            f"{row.cold_starts:,} ({row.cold_starts / row.requests:.1%})",
            str(row.loads),
            str(row.evictions),
            number(row.p50_s),
            number(row.p95_s),
            number(row.max_s),
        ]
        for row in measured(profiles(), trace(random.Random(SEED)))
    ]
    return ["### Cold starts and waits, two hours of mixed requests, simulated", "", *markdown([head, *rows])]


def measured(models: tuple[Profile, ...], arrivals: tuple[Arrival, ...]) -> list[Row]:
    """Return every scheduler's figures on one trace."""
    begun_s = time.monotonic()
    ours = Replay(FLEET, models, arrivals).run()
    print(f"(the simulation took {time.monotonic() - begun_s:.0f} s)\n", file=sys.stderr)
    rows = [
        Row(
            "cortex", ours.requests, ours.served, ours.cold_starts, sum(ours.loads.values()), ours.evictions,
            ours.wait_s(0.5), ours.wait_s(0.95), max(ours.waits_s, default=0.0),
        )
    ]  # fmt: skip
    for name, rival in (("plain LRU", Lru(FLEET, models)), ("one at a time, FIFO", OneAtATime(FLEET, models))):
        rows.append(_row(name, rival.play(arrivals), len(arrivals)))
    return rows


def _row(name: str, played: Played, requests: int) -> Row:
    waits = sorted(played.waits_s)
    return Row(
        name, requests, len(waits), played.cold_starts, played.loads, played.evictions,
        waits[len(waits) // 2], waits[int(len(waits) * 0.95)], waits[-1],
    )  # fmt: skip


def profiles() -> tuple[Profile, ...]:
    """Return the catalogue: the two largest need two cards where one is too small."""
    return tuple(
        Profile(id=f"org/m{number}", harness="llamacpp", vram_mb=size, parallel=4, max_replicas=1)
        for number, size in enumerate(SIZES_MB)
    )


def trace(draw: random.Random) -> tuple[Arrival, ...]:
    """Return the requests: chats, agents that go to and fro between two models, and rare ones."""
    found = [*_chats(draw), *_agents(draw), *_rare(draw)]
    return tuple(sorted(found, key=lambda arrival: arrival.at_s))


def _chats(draw: random.Random) -> list[Arrival]:
    """People who talk to a favourite model for a while, a turn every half minute."""
    found = []
    for person in range(60):
        model, at_s = f"org/m{min(8, int(draw.expovariate(0.35)))}", draw.uniform(0, SPAN_S - 600)
        for _ in range(draw.randint(3, 15)):
            found.append(_arrival(draw, at_s, model, f"person-{person}"))
            at_s += draw.uniform(10, 60)
    return found


def _agents(draw: random.Random) -> list[Arrival]:
    """Agents that plan with one model and write with another, call after call."""
    found = []
    for agent in range(10):
        first, second = draw.sample(range(9), 2)
        at_s = draw.uniform(0, SPAN_S - 900)
        for turn in range(draw.randint(20, 60)):
            model = f"org/m{first if turn % 3 == 0 else second}"
            found.append(_arrival(draw, at_s, model, f"agent-{agent}"))
            at_s += draw.uniform(3, 15)
    return found


def _rare(draw: random.Random) -> list[Arrival]:
    return [_arrival(draw, draw.uniform(0, SPAN_S), f"org/m{draw.randrange(9)}", "cron") for _ in range(60)]


def _arrival(draw: random.Random, at_s: float, model: str, caller: str) -> Arrival:
    tokens = draw.randint(100, 4000)
    return Arrival(at_s=at_s, model=model, caller=caller, tokens=tokens, duration_s=draw.uniform(1, 4) + tokens / 800)


if __name__ == "__main__":
    sys.exit(main())

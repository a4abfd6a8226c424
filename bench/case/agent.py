"""A coding agent's request of 100 KB in Anthropic's dialect: its CPU time, and how soon the upstream has it whole.

The clock runs from the client's last byte to the upstream's first, which comes when the request is there to its end. So
it holds the way through both sockets; beside it is what it takes straight to the upstream. nginx relays the same bytes
untranslated.
"""

from bench.agent import agent_request
from bench.case.interface import Bench
from bench.case.request import LARGE_CONNECTIONS
from bench.dialect import ANTHROPIC, OPENAI, encoded, orders
from bench.goal import LIMIT
from bench.load import Option
from bench.peer.interface import Running

RATE_PER_S = 60
DIRECT_PER_MILLE = 300


class Agent:
    name = "agent"
    about = (
        f"a coding agent's request of 100 KB, answered by a stream of one chunk: CPU time in closed loop; {RATE_PER_S} "
        "a second (LiteLLM: 6), from the client's last byte to the upstream's first. nginx relays it untranslated"
    )
    rounds = 3

    def measure(self, bench: Bench, gateway: Running) -> None:
        dialect = OPENAI if gateway.name == LIMIT else ANTHROPIC
        path = OPENAI.path if gateway.name == LIMIT else gateway.paths.get(ANTHROPIC.name)
        if path is None:
            bench.book.remark(gateway.name, f"no figure of `{self.name}`: {gateway.why_not(ANTHROPIC.name)}")
            return
        body = encoded(agent_request(orders(1, 0, is_spread=False)))
        kept = bench.load.keep("agent.json", body)
        self._cost(bench, gateway, {"path": path, "end": dialect.end, "body_file": kept, "chunks": 1})
        self._delay(bench, gateway, {"path": path, "end": dialect.end, "body_file": kept, "chunks": 1})

    def _cost(self, bench: Bench, gateway: Running, asked: dict[str, Option]) -> None:
        seconds = 1.5 if gateway.pace.is_common else 3.0
        connections = min(LARGE_CONNECTIONS, gateway.pace.connections)
        reading = bench.load.run(gateway, "closed", connections=connections, warmup=0.5, seconds=seconds, **asked)
        bench.book.failures[gateway.name] += reading.failures()
        done = reading.count("requests")
        if done:
            bench.book.add(gateway.name, "agent_us", reading.gateway_cpu_us / done)
        else:
            bench.book.remark(gateway.name, f"no answer in `{self.name}`: {reading.outcomes()}")

    def _delay(self, bench: Bench, gateway: Running, asked: dict[str, Option]) -> None:
        rate = RATE_PER_S if gateway.pace.is_common else RATE_PER_S / 10
        seconds = bench.either(2.5, 4.0)
        reading = bench.load.run(
            gateway, "open", rate=rate, direct=DIRECT_PER_MILLE, warmup=0.5, seconds=seconds, **asked
        )
        bench.book.failures[gateway.name] += reading.failures()
        if not reading.samples("reach"):
            return
        for quantile in ("p50", "p99"):
            bench.book.add(gateway.name, f"agent_reach_{quantile}_us", reading.quantile_us("reach", quantile))
            direct_us = reading.quantile_us("reach", quantile, "direct")
            bench.book.add(gateway.name, f"agent_direct_{quantile}_us", direct_us)

"""CPU time per unstreamed request, for bodies of 1, 10 and 220 KB, with the connections always busy (closed loop)."""

from bench.case.interface import Bench
from bench.peer.interface import Running

SIZES = {"1": 1_024, "10": 10_240, "220": 225_280}
"""KB and bytes of a request's body."""

LARGE_CONNECTIONS = 8


class Request:
    name = "request"
    about = "unstreamed requests, closed loop; CPU time of the gateway's processes over the window, per request"
    rounds = 5

    def measure(self, bench: Bench, gateway: Running) -> None:
        for size, body in SIZES.items():
            many = size != "220"
            connections = gateway.pace.connections if many else min(LARGE_CONNECTIONS, gateway.pace.connections)
            seconds = 1.5 if gateway.pace.is_common else 3.0
            reading = bench.load.run(gateway, "closed", connections=connections, body=body, warmup=0.5, seconds=seconds)
            bench.book.failures[gateway.name] += reading.failures()
            done = reading.count("requests")
            if not done:
                bench.book.remark(gateway.name, f"no answer to a request of {size} KB: {reading.outcomes()}")
                continue
            bench.book.add(gateway.name, f"request_{size}_us", reading.gateway_cpu_us / done)
            bench.book.add(gateway.name, f"request_{size}_per_s", done / reading.window_s)
            bench.book.add(gateway.name, f"request_{size}_busy", reading.gateway_cpu_us / 1e6 / reading.window_s)
            bench.book.add(gateway.name, f"load_{size}_us", reading.load_cpu_us / done)
        bench.book.add(gateway.name, "rss_mib", gateway.child.rss_kib() / 1024)

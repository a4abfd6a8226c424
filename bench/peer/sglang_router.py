"""sglang-router (Rust, axum): the fast router that comes from PyPI.

One worker, HTTP mode, round robin. It asks the worker for ``/health`` and its model once before it is ready and keeps
polling ``/health``; the upstream answers. Its metrics stay on, as they are by default.
"""

from bench.peer import environment
from bench.peer.interface import Pace, Running, Site, wait_ready
from bench.port import free_port

PACKAGE = "sglang-router"


class SglangRouter:
    name = "sglang-router"
    about = "`launch_router --worker-urls … --policy round_robin --log-level warn`, metrics on"
    pace = Pace()
    starts = 3

    def install(self) -> str:
        return environment.install(PACKAGE)

    def start(self, site: Site) -> Running:
        port = free_port()
        argv = [
            *(environment.PYTHON, "-m", "sglang_router.launch_router"),
            *("--worker-urls", f"http://127.0.0.1:{site.upstream_port}"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port())),
            *("--policy", "round_robin", "--log-level", "warn"),
            # Room for 2,000 streams at once, and no second try that would hide an error from the count.
            *("--max-concurrent-requests", "8192", "--queue-size", "8192", "--disable-retries"),
        ]
        # It looks for a tokenizer named like the model in the Hub's cache; nothing may be fetched for a mock.
        child = site.gateway_child(argv, env={"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"})
        ready_s = wait_ready(child, port, "/readiness", 60)
        return Running(self.name, port, child, ready_s, self.pace)

"""cortex with everything on, started as its user starts it: a neuron that lists the upstream, a gateway in front.

Twice: on uvloop, and on asyncio's own loop as where no uvloop is installed. Each has its own neuron, so that neither
shares slots with the other.
"""

from pathlib import Path

from bench.build import BENCH
from bench.child import Child
from bench.dialect import TRANSLATED
from bench.peer.interface import Pace, Running, Site, UnavailableError, wait_ready
from bench.port import free_port

BIN = BENCH.parent / ".venv" / "bin"

NEURON = """\
port = {port}
host = "127.0.0.1"
state_dir = "{folder}/state"

[[harnesses]]
name = "openai"
endpoint = "http://127.0.0.1:{upstream}"
"""

GATEWAY = """\
[gateway]
listen = "127.0.0.1:{port}"
metrics_listen = "127.0.0.1:{metrics}"

[[neurons]]
name = "bench"
endpoint = "http://127.0.0.1:{neuron}"
"""

WITHOUT_UVLOOP = """\
import sys
sys.modules["uvloop"] = None  # as if it were not installed
from cortex.cli.main import main
main()
"""


class Cortex:
    pace = Pace()
    starts = 3

    def __init__(self, name: str, *, has_uvloop: bool) -> None:
        self.name = name
        self._has_uvloop = has_uvloop
        loop = "uvloop" if has_uvloop else "asyncio's own loop"
        self.about = (
            f"`cortex serve` and one `cortex-neuron`, {loop}; routing, metrics, access log and request records on"
        )

    def install(self) -> str:
        if not (BIN / "cortex").exists():
            raise UnavailableError("no .venv/bin/cortex: run `make bench`, which installs it")
        if self._has_uvloop and not list((BIN.parent / "lib").glob("python*/site-packages/uvloop")):
            raise UnavailableError("uvloop is not installed and has no wheel for this Python")
        return _version()

    def start(self, site: Site) -> Running:
        neuron = free_port()
        config = site.folder / "neuron.toml"
        config.write_text(NEURON.format(port=neuron, folder=site.folder, upstream=site.upstream_port))
        argv = [BIN / "cortex-neuron", "--config", config]
        node = Child(argv, core=site.cores.client, log=site.folder / "neuron.log", cwd=site.folder)
        wait_ready(node, neuron, "/readyz", 30)
        try:
            return self._start_gateway(site, neuron, node)
        except BaseException:
            node.stop()
            raise

    def _start_gateway(self, site: Site, neuron: int, node: Child) -> Running:
        port = free_port()
        config = site.folder / "cortex.toml"
        config.write_text(GATEWAY.format(port=port, metrics=free_port(), neuron=neuron))
        child = site.gateway_child([*self._program(site.folder), "serve", "--config", config])
        paths = {dialect.name: dialect.path for dialect in TRANSLATED}
        return Running(self.name, port, child, wait_ready(child, port, "/readyz", 30), self.pace, [node], paths)

    def _program(self, folder: Path) -> list[Path]:
        if self._has_uvloop:
            return [BIN / "cortex"]
        program = folder / "without_uvloop.py"
        program.write_text(WITHOUT_UVLOOP)
        return [BIN / "python", program]


def _version() -> str:
    for line in (BENCH.parent / "src/cortex/__init__.py").read_text().splitlines():
        if line.startswith("__version__"):
            return line.partition("=")[2].strip(' "')
    return "unknown"

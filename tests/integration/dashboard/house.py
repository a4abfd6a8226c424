"""A fleet to look at: two nodes, real neurons and engines, a gateway with a store, and a model with a hostile name."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.integration.fleet.fleet import Fleet, entry, fleet, written

SMALL, CODER, BIG = "lab/small", "lab/coder", "lab/big"
HOSTILE = "evil/<script>alert(1)</script>"
NODES = {"beast": (8000, 8000), "benjy": (6000,)}
GATEWAY = """
[store]
url = "sqlite:///cortex.db"
"""


@contextlib.contextmanager
def house(folder: Path) -> Iterator[Fleet]:
    """Run it."""
    folder.mkdir(parents=True, exist_ok=True)
    quick = written(folder / "quick.gguf", layers=4)
    models = [entry(SMALL, quick, 3000, aliases=["tiny"]), entry(CODER, quick, 5000), entry(BIG, quick, 7000)]
    models.append(entry(HOSTILE, quick, 2000))
    with fleet(folder / "fleet", NODES, models, gateway=GATEWAY) as it:
        yield it


def load(it: Fleet, model: str, node: str | None = None) -> None:
    """Load a model, and wait until it serves."""
    wish = {"model": model, "wait": True} | ({"node": node} if node else {})
    status, answer = it.gateway.get("/admin/v1/load", wish)
    assert status == 200, answer


def make_key(it: Fleet, name: str) -> str:
    """Make an operator's key on the gateway's host; return its secret."""
    config = str(it.gateway.folder / "cortex.toml")
    argv = [sys.executable, "-P", "-m", "cortex", "keys", "create", name, "--admin", "--json", "--config", config]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["secret"])

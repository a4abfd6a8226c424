"""Engines and disks that fail: what the neuron says of it, and that it goes on."""

import os
import resource
import signal
import stat
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.integration.neuron.neuron_process import (
    LLAMACPP,
    chat,
    engines_ended,
    is_running,
    neuron,
    wait_until,
)
from tests.port import free_port

ENDING = "keep_engines = false\ndrain_timeout_s = 5\nload_timeout_s = 1\n"

HANGS = "while True: signal.pause()"
NEVER_READY = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503)
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
EXITS = 'sys.exit("error: the model is not to my taste")'
ROBBED = """
if not mark.exists():
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", port))
    taken.listen()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        while True: signal.pause()
    mark.write_text(str(pid))
    taken.close()
"""
"""Somebody takes the port after it was chosen and before the engine binds it; once."""


def engine_that(folder: Path, does: str) -> str:
    """Write a program that does something first and is the embedded engine then; return its entry."""
    program = folder / "llama-server"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, signal, socket, sys\n"
        f"mark = pathlib.Path({str(folder / 'mark')!r})\n"
        "port = int(sys.argv[sys.argv.index('--port') + 1]) if '--port' in sys.argv else 0\n"
        f"if port:\n{textwrap.indent(does, '    ')}\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'cortex.neuron.embedded', *sys.argv[1:]])\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f'{LLAMACPP}binary = "{program}"\n'


@contextmanager
def ended(mark: Path) -> Iterator[None]:
    """End, after the block, the process whose id is in a file."""
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            os.kill(int(mark.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("does", [HANGS, NEVER_READY], ids=["hangs", "is never ready"])
def test_a_load_that_does_not_end_is_ended_and_leaves_nothing(tmp_path: Path, demo: Path, does: str) -> None:
    with neuron(tmp_path, engine_that(tmp_path, does), head=ENDING) as node:
        assert node.load("demo", demo)[0] == 200
        wait_until(lambda: node.engine_pids() != [])
        (pid,) = node.engine_pids()
        error = node.until("demo", "failed")["error"]
        assert error["code"] == "load_timeout"
        wait_until(lambda: node.engine_pids() == [])
        assert not is_running(pid)


def test_an_engine_that_ends_at_once_says_why_and_is_left_alone_after_a_while(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, engine_that(tmp_path, EXITS), head=ENDING) as node:
        for _ in range(2):
            assert node.load("demo", demo)[0] == 200
            error = node.until("demo", "failed")["error"]
            assert "not to my taste" in error["message"]
            wait_until(lambda: node.engine_pids() == [])
        status, answer = node.load("demo", demo)
        assert (status, answer["error"]["code"], answer["error"]["details"]["reason"]) == (409, "held", "failing")
        assert answer["error"]["details"]["snapshot"]["models"][0]["status"] == "failed"


def test_a_port_that_is_taken_before_the_engine_binds_it_costs_a_try_and_no_more(tmp_path: Path, demo: Path) -> None:
    first = free_port()
    entry = f"{engine_that(tmp_path, ROBBED)}port_range = [{first}, {min(first + 20, 65535)}]\n"
    head = ENDING.replace("load_timeout_s = 1", "load_timeout_s = 60")
    with ended(tmp_path / "mark"), neuron(tmp_path, entry, head=head) as node:
        url = node.loaded("demo", demo)["url"]
        assert chat(url)
        assert (tmp_path / "mark").exists()
        assert "port taken, trying the next" in node.log
        assert node.report("demo")["generation"] == 1


def test_with_a_full_disk_nothing_is_loaded_and_nothing_is_lost(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head="keep_engines = false\n") as node:
        most_mb = node.get("/health")[1]["devices"][0]["vram_free_mb"] * 6 // 10
        url = node.loaded("demo", demo, vram_mb=most_mb)["url"]
        wait_until(lambda: node.report("demo")["protected_s"] == 0)
        limits = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        evict = [{"model_id": "demo", "generation": 1}]
        for victims in ([], evict):
            status, answer = node.load("other", demo, vram_mb=most_mb if victims else 1, evict=victims)
            assert status == 500
            assert "the state directory cannot be written" in answer["error"]["message"]
            assert node.report("other") == {}
        assert node.get("/models/pin", {"model_id": "demo", "pinned": True})[0] == 500
        assert node.report("demo")["status"] == "loaded"
        assert not node.report("demo")["pinned"]
        assert chat(url)
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, limits)
        assert node.load("other", demo, vram_mb=most_mb, evict=evict)[0] == 200
        node.until("other", "loaded")


def test_cycles_outlive_a_neuron_that_is_killed_and_end_with_a_restart_of_the_harness(
    tmp_path: Path, demo: Path
) -> None:
    def cycles() -> int:
        return int(node.get("/health")[1]["harnesses"][0]["cycles"])

    with engines_ended(tmp_path):
        with neuron(tmp_path) as node:
            for _ in range(2):
                node.loaded("demo", demo)
                node.unload("demo")
            assert cycles() == 2
            node.stop(signal.SIGKILL)
        with neuron(tmp_path) as node:
            assert cycles() == 2
            node.loaded("demo", demo)
            status, answer = node.get("/harnesses/llamacpp/restart", {"cycles": 1})
            assert (status, answer["error"]["code"]) == (409, "stale")
            assert node.report("demo")["status"] == "loaded"
            assert node.get("/harnesses/llamacpp/restart", {"cycles": 2, "steward": 7})[0] == 200
            assert (cycles(), node.report("demo")["status"]) == (0, "unloaded")
            status, answer = node.get("/harnesses/llamacpp/restart", {"steward": 6})
            assert (status, answer["error"]["details"]["reason"]) == (409, "steward")

"""A worker that is killed in the middle of a test leaves nothing running."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.neuron.neuron_process import LIMIT_S, is_running
from tests.leftover import end_all

ROOT = Path(__file__).parents[2]
KILLED = """
import os, pathlib, signal, subprocess

def test_that_never_ends():
    plain, frozen = (subprocess.Popen(["sleep", "1000"], start_new_session=True) for _ in range(2))
    frozen.send_signal(signal.SIGSTOP)
    pathlib.Path(os.environ["PIDS"]).write_text(f"{plain.pid} {frozen.pid}")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_worker_has_started_is_ended(tmp_path: Path) -> None:
    (tmp_path / "test_killed.py").write_text(KILLED)
    argv = [sys.executable, "-m", "pytest", "-n1", "-p", "tests.leftover", "--max-worker-restart=0", str(tmp_path)]
    env = {**os.environ, "PIDS": str(tmp_path / "pids")}
    done = subprocess.run(argv, cwd=ROOT, env=env, timeout=LIMIT_S, capture_output=True, text=True, check=False)
    assert "worker 'gw0' crashed while running" in done.stdout, done.stdout + done.stderr
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert [pid for pid in pids if is_running(pid)] == []


def test_what_does_not_end_when_it_is_asked_is_killed() -> None:
    argv = [sys.executable, "-c", "import signal; signal.pthread_sigmask(0, [15]); print(flush=True); signal.pause()"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        end_all([deaf.pid], grace_s=0.01)
        assert deaf.wait(LIMIT_S) == -signal.SIGKILL

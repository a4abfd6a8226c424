"""A neuron below what plays systemd: it takes its socket from it, tells it how it is, and says what a reload did."""

import os
import signal
import socket
import sys
from pathlib import Path

from tests.handed import started
from tests.integration.neuron.neuron_process import LIMIT_S, answer_to, wait_until

HEAD = 'host = "127.0.0.1"\nstate_dir = "state"\n'


def test_a_neuron_is_restarted_on_a_socket_that_stays_open(tmp_path: Path) -> None:
    log, config = tmp_path / "log", tmp_path / "neuron.toml"
    config.write_text(HEAD)
    command = [sys.executable, "-P", "-m", "cortex.cli.neuron", "--config", "neuron.toml"]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as door,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(LIMIT_S)
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        env = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000000"}

        def heard(words: str) -> str:
            while words not in (said := manager.recv(4096).decode()):
                pass
            return said

        def logged(words: str) -> None:
            wait_until(lambda: words in log.read_text(), log.read_text)

        first = started(command, {"neuron": door}, cwd=tmp_path, env=env, log=log)
        try:
            heard("WATCHDOG=1\nEXTEND_TIMEOUT_USEC=")
            assert "STATUS=0 models loaded, 0 loading" in heard("READY=1")
            logged(f"the socket 127.0.0.1:{door.getsockname()[1]} that was handed over is used")
            assert answer_to(url + "/readyz")[0] == 200
            config.write_text(HEAD + 'log_level = "debug"\nheadroom_mb = 17\n')
            first.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in heard("RELOADING=1")
            heard("READY=1")
            logged("in effect only after a restart, which keeps engines: headroom_mb")
            config.write_text("headroom = 17\n")
            first.send_signal(signal.SIGHUP)
            logged("the configuration stays as it was: neuron.toml: ")
            first.send_signal(signal.SIGUSR2)
            logged("SIGUSR2 is for gateways")
            config.write_text(HEAD)
            first.send_signal(signal.SIGTERM)
            heard("STOPPING=1")
            assert first.wait(LIMIT_S) == 0
        finally:
            first.kill()
            first.wait()
        with socket.create_connection(door.getsockname()) as waiting:
            waiting.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            second = started(command, {"neuron": door}, cwd=tmp_path, env=env, log=log)
            try:
                waiting.settimeout(LIMIT_S)
                assert waiting.recv(100).startswith(b"HTTP/1.1 200 OK")
            finally:
                second.terminate()
                assert second.wait(LIMIT_S) == 0

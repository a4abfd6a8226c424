"""The small engine that holds memory of a GPU; without a GPU it can hold nothing, and serves all the same."""

import http.server
import json
import subprocess
import sys
import threading
import urllib.request

import pytest

from cortex.testing import vram_holder
from cortex.testing.vram_holder import Answer, CudaFailed, hold, main


@pytest.mark.parametrize("more", [(), ("--in-child",)], ids=["itself", "in a child"])
def test_it_says_that_it_holds_and_ends_with_its_input(more: tuple[str, ...]) -> None:
    argv = [sys.executable, "-m", "cortex.testing.vram_holder", "0", *more]
    done = subprocess.run(argv, input="", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "holding\n", "")


def test_a_child_that_cannot_hold_it_ends_both() -> None:
    argv = [sys.executable, "-m", "cortex.testing.vram_holder", str(1 << 40), "--in-child"]
    done = subprocess.run(argv, input="", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CUDA: ")


def test_it_answers_like_a_server_of_one_model() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/v1/models", timeout=30) as reply:
                assert json.load(reply)["data"][0]["id"] == "vram-holder"
        finally:
            server.shutdown()
            thread.join()


def test_a_host_without_a_driver_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(name: str) -> object:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(vram_holder.ctypes, "CDLL", missing)
    assert main(["16"]) == 1
    assert capsys.readouterr().err == "CUDA: libcuda.so.1: cannot open shared object file\n"


class Cuda:
    """A driver of which one function may refuse."""

    def __init__(self, refusing: str = "") -> None:
        self.calls: list[tuple[str, object]] = []
        for name in ("cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuMemAlloc_v2"):
            setattr(self, name, self._function(name, 2 if name == refusing else 0))

    def _function(self, name: str, code: int) -> object:
        def function(*args: object) -> int:
            self.calls.append((name, getattr(args[-1], "value", args[-1])))
            return code

        function.__name__ = name
        return function


def test_memory_is_taken_in_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda()
    monkeypatch.setattr(vram_holder.ctypes, "CDLL", lambda _: cuda)
    hold(3)
    assert cuda.calls[-1] == ("cuMemAlloc_v2", 3 << 20)


def test_a_driver_that_refuses_is_told_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vram_holder.ctypes, "CDLL", lambda _: Cuda("cuMemAlloc_v2"))
    with pytest.raises(CudaFailed, match="cuMemAlloc_v2 ends with code 2"):
        hold(1)

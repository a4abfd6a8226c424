"""A small engine that holds memory of a GPU and serves: what a test on a real GPU runs in the place of a model.

``python -m cortex.testing.vram_holder MIB [--port PORT] [--in-child]`` takes the memory on the first visible GPU, says
``holding`` and goes on until its input ends or it is told to stop. With a port it answers ``/health`` and
``/v1/models`` and ignores its input. With ``--in-child`` a process of its own holds the memory, as some engines do it.
"""

import argparse
import ctypes
import http.server
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

MIB = 1 << 20


class CudaFailed(Exception):
    """The driver refused; the text says what and its code."""


def hold(mib: int) -> None:
    """Take memory of the first visible GPU until this process ends; nothing for 0. Raises: CudaFailed."""
    if not mib:
        return
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CudaFailed(str(error)) from error
    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    _call(cuda.cuInit, 0)
    _call(cuda.cuDeviceGet, ctypes.byref(device), 0)
    _call(cuda.cuDevicePrimaryCtxRetain, ctypes.byref(context), device)
    _call(cuda.cuCtxSetCurrent, context)
    _call(cuda.cuMemAlloc_v2, ctypes.byref(memory), ctypes.c_size_t(mib * MIB))


def _call(function: Any, *args: Any) -> None:
    code = function(*args)
    if code:
        raise CudaFailed(f"{function.__name__} ends with code {code}")


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers every GET like a server that has one model."""

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": [{"id": "vram-holder", "object": "model"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="vram_holder")
    parser.add_argument("mib", type=int)
    parser.add_argument("--port", type=int)
    parser.add_argument("--in-child", action="store_true")
    args = parser.parse_args(argv)
    child = _holding_child(args.mib) if args.in_child else None
    try:
        if child is None:
            hold(args.mib)
    except CudaFailed as error:
        print(f"CUDA: {error}", file=sys.stderr)
        return 1
    if child is not None and child.returncode is not None:
        return child.returncode
    print("holding", flush=True)
    try:
        _wait(args.port)
    finally:
        if child is not None:
            child.communicate()
    return 0


def _holding_child(mib: int) -> "subprocess.Popen[str]":
    """Return a process of its own that holds the memory, or has ended because it could not."""
    argv = [sys.executable, "-m", "cortex.testing.vram_holder", str(mib)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    if not child.stdout.readline():
        child.communicate()
    return child


def _wait(port: int | None) -> None:
    if port is None:
        sys.stdin.read()
    else:
        http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()


if __name__ == "__main__":
    sys.exit(main())

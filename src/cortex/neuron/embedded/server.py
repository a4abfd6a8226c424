"""Runs llama.cpp's HTTP server in this process until SIGTERM or SIGINT.

Exit codes are llama-server's: 1 for a busy port or a model that does not load (the reason is in the engine's own log
lines on standard error), 0 after a stop. Like llama-server it does not drain: what runs is cut. Draining is the
supervisor's work.
"""

import os
import signal
import sys
from typing import Any

from cortex.neuron.embedded.argument import Setting
from cortex.neuron.embedded.flag import Member

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(setting: Setting) -> int:
    """Load the model and serve it until the process is told to end; return only when it cannot, with the exit code."""
    # The load holds the GIL, so a handler written in Python would only run after it: keep the default action, which
    # ends the process at once (measured with xllamacpp 2026.10.11549; llama-server behaves the same until loaded).
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    try:
        server = start(setting)  # noqa: F841 - it serves for as long as it is held
    except (ImportError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    _wait_for_stop()
    # Taking the server apart would join its threads, of which one waits for up to a ping's interval (30 s) beside a
    # stream that runs (gdb, xllamacpp 2026.10.11549). Nothing of it outlives the process, so the process just ends.
    sys.stderr.flush()
    os._exit(0)


def start(setting: Setting) -> Any:
    """Return the running server; blocks until the model is loaded."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    for target, value in setting.items():
        _apply(xllamacpp, params, target, value)
    return xllamacpp.Server(params)


def _apply(wheel: Any, params: Any, target: str, value: object) -> None:
    *path, name = target.split(".")
    owner = params
    for part in path:
        owner = getattr(owner, part)
    if isinstance(value, Member):
        value = getattr(getattr(wheel, value.enum), value.name)
    elif target in {"model_alias", "model_tags"} and isinstance(value, list):
        value = set(value)
    elif target == "tensor_split" and isinstance(value, list):
        value = value + [0.0] * (len(params.tensor_split) - len(value))
    setattr(owner, name, value)


def _wait_for_stop() -> None:
    # The C-level handler runs in whichever thread the kernel picks and writes to the wakeup descriptor, so the main
    # thread wakes at once although llama.cpp's threads do not block the signal (sigwait would need them to).
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda *_: None)
    os.read(reader, 1)

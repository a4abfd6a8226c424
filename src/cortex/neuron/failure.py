"""Keeps models that fail again and again from being tried again and again; a neuron that restarts tries afresh.

How long each is left alone is decided by ``residency/crash_loop.py``. A load that wants something else than what failed
is another matter and is tried at once, and so is one after an operator has put the failure away by an unload.
"""

from typing import NamedTuple

from cortex.contract.instance import LoadRequest
from cortex.neuron.instance import Instance
from cortex.neuron.refusal import Held
from cortex.residency.crash_loop import CrashLoop

NO_FAULT = ("no_room", "busy")
"""What a load can end with that says nothing of the model."""


class _Failing(NamedTuple):
    wanted: LoadRequest
    loop: CrashLoop


class Failures:
    """The models that failed last, by id."""

    def __init__(self) -> None:
        self._failing: dict[str, _Failing] = {}

    def note(self, instance: Instance, now_s: float) -> None:
        """Take in how a life ended."""
        is_at_fault = instance.error is None or instance.error.code not in NO_FAULT
        if instance.status == "failed" and instance.launch is not None and is_at_fault:
            wanted = instance.launch.request
            last = self._failing.get(instance.model_id)
            loop = last.loop if last is not None and last.wanted == wanted else CrashLoop()
            loop.failed(0.0 if instance.loaded_s is None else now_s - instance.loaded_s, now_s)
            self._failing[instance.model_id] = _Failing(wanted, loop)

    def check(self, request: LoadRequest, instance: Instance | None, now_s: float) -> None:
        """Raise Held, with the time, for a load (its essence) that failed and is not to be tried yet."""
        last = self._failing.get(request.model_id)
        if last is None or last.wanted != request:
            return
        left_s = last.loop.left_s(now_s)
        if left_s > 0:
            error = instance.error if instance is not None else None
            words = f": {error.message}" if error is not None else ""
            raise Held(
                f"{request.model_id} has failed {last.loop.failures} times in a row and is tried again in "
                f"{left_s:.0f} s; an unload puts the failures away{words}",
                retry_in_s=round(left_s, 3),
                reason="failing",
            )

    def forget(self, model_id: str) -> None:
        """Let the next load be tried at once."""
        self._failing.pop(model_id, None)

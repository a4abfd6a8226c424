"""What NVML really answered, on tape: a binding that records every call, and one that plays them back without a GPU.

A tape is JSON: calls in their order, each with its arguments and its result or the code of its error. Handles become
numbers, structures their fields. Played back, a question that was asked several times gets its answers in their order,
and the last of them from then on; one that was never asked is a function that this driver does not have.
"""

import ctypes
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec

FUNCTION_NOT_FOUND = 13


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call. ``error``: its code, and what the binding calls it."""

    name: str
    args: list[Any] = []
    result: Any = None
    error: tuple[int, str] | None = None


class RecordingNvml:
    """Stands before the real binding. ``calls`` is the tape."""

    def __init__(self, binding: Any) -> None:
        self.NVMLError = binding.NVMLError
        self.calls: list[Call] = []
        self._binding = binding
        self._handles: dict[int, int] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a function of the binding that records what it is asked."""
        function = getattr(self._binding, name)

        def call(*args: Any) -> Any:
            asked = [self._plain(arg) for arg in args]
            try:
                result = function(*args)
            except self.NVMLError as error:
                self.calls.append(Call(name=name, args=asked, error=(error.value, str(error))))
                raise
            self.calls.append(Call(name=name, args=asked, result=self._plain(result)))
            return result

        return call

    def take(self) -> list[Call]:
        """Return the tape so far and begin another."""
        calls, self.calls = self.calls, []
        return calls

    def _plain(self, value: Any) -> Any:
        """Return a value as JSON has it."""
        if isinstance(value, bytes):
            return {"bytes": value.decode("latin-1")}
        if isinstance(value, ctypes.Array | list | tuple):
            return [self._plain(item) for item in value]
        if isinstance(value, ctypes.Structure | ctypes.Union):
            return {"fields": {name: self._plain(getattr(value, name)) for name, *_ in type(value)._fields_}}
        if isinstance(value, ctypes._Pointer):
            address = ctypes.cast(value, ctypes.c_void_p).value or 0
            return {"handle": self._handles.setdefault(address, len(self._handles))}
        if value is None or isinstance(value, str | int | float):
            return value
        return {"fields": {name: self._plain(item) for name, item in vars(value).items()}}


class Handle(NamedTuple):
    """Stands for a device or a set of events."""

    number: int


class PlayedError(Exception):
    """An error as it was recorded."""

    def __init__(self, value: int, words: str) -> None:
        super().__init__(words)
        self.value = value


class PlayedNvml:
    """The binding as a tape has it."""

    NVMLError = PlayedError

    def __init__(self, calls: Sequence[Call]) -> None:
        self._names = {call.name for call in calls}
        self._answers: dict[str, list[Call]] = {}
        for call in calls:
            self._answers.setdefault(_question(call.name, call.args), []).append(call)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a function that answers as the real one did."""
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            answers = self._answers.get(_question(name, [_asked(arg) for arg in args]))
            if not answers:
                raise PlayedError(FUNCTION_NOT_FOUND, "not on the tape")
            answer = answers[0] if len(answers) == 1 else answers.pop(0)
            if answer.error is not None:
                raise PlayedError(*answer.error)
            return _live(answer.result)

        return call


def _question(name: str, args: Sequence[Any]) -> str:
    return msgspec.json.encode([name, args]).decode()


def _asked(arg: Any) -> Any:
    if isinstance(arg, Handle):
        return {"handle": arg.number}
    return list(arg) if isinstance(arg, tuple) else arg


def _live(value: Any) -> Any:
    """Return what a binding would have given for a recorded value."""
    if isinstance(value, list):
        return [_live(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "handle":
        return Handle(content)
    if kind == "bytes":
        return content.encode("latin-1")
    return SimpleNamespace(**{name: _live(item) for name, item in content.items()})

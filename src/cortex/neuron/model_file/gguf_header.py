"""Reads the few facts of a GGUF file's header that an estimate of memory needs, without reading the weights.

The format is little-endian: magic, version, counts of tensors and pairs, then key/value pairs. Source: the GGUF
specification in ggml's docs (version 3; 2 has the same layout). The ``gguf`` package would parse every tensor and all
of the vocabulary, which takes seconds for large models. Read, not mapped: a mapped file that is cut, or whose server
goes away, ends the whole process.
"""

import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

import msgspec

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_KEPT_ARRAY = 1024
"""Longest list of numbers that is kept (per-layer values); a vocabulary is only counted."""

Value = int | float | bool | str | tuple[int | float | bool, ...]


class GgufHeader(msgspec.Struct, frozen=True, kw_only=True):
    """``facts`` by key, without the architecture's prefix; ``vocabulary`` counts the tokens."""

    architecture: str
    facts: dict[str, Value]
    vocabulary: int = 0

    def number(self, key: str, default: int = 0) -> int:
        """Return a whole number; for a per-layer list its largest."""
        value = self.facts.get(key, default)
        if isinstance(value, tuple):
            value = max(value, default=default)
        return int(value) if isinstance(value, int | float) and math.isfinite(value) else default


def read_header(path: Path) -> GgufHeader | None:
    """Return the header of a GGUF file; None when it is not one, or is cut off. Raises: OSError."""
    with path.open("rb") as file:
        try:
            return _Reader(file).header()
        except (struct.error, ValueError, RecursionError):
            return None


class _Reader:
    """Raises ValueError, or one of the like, where a file is not what it should be."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def header(self) -> GgufHeader | None:
        magic, version = self._unpack("4sI")
        if magic != b"GGUF" or version not in (2, 3):
            return None
        _tensors, pairs = self._unpack("QQ")
        facts: dict[str, Value] = {}
        vocabulary = 0
        for _ in range(pairs):
            key = self._text()
            (kind,) = self._unpack("I")
            if key == "tokenizer.ggml.tokens" and kind == _ARRAY:
                begin = self._file.tell()
                vocabulary = self._unpack("IQ")[1]
                if f"{facts.get('general.architecture')}.block_count" in facts:
                    break  # writers put the tokenizer last, and walking a vocabulary takes longest
                self._file.seek(begin)
            value = self._value(kind)
            if value is not None:
                facts[key] = value
        architecture = facts.get("general.architecture")
        if not isinstance(architecture, str):
            return None
        prefix = architecture + "."
        return GgufHeader(
            architecture=architecture,
            facts={key.removeprefix(prefix): value for key, value in facts.items()},
            vocabulary=vocabulary,
        )

    def _value(self, kind: int) -> Value | None:
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            value: Value = self._unpack(_code(kind))[0]
            return value
        inner, count = self._unpack("IQ")
        if inner in (_STRING, _ARRAY):
            for _ in range(count):
                self._value(inner)
            return None
        if count > _KEPT_ARRAY:
            self._skip(count * struct.calcsize(_code(inner)))
            return None
        return self._unpack(f"{count}{_code(inner)}")

    def _text(self) -> str:
        (length,) = self._unpack("Q")
        return self._bytes(length).decode()

    def _unpack(self, layout: str) -> tuple:  # type: ignore[type-arg]
        return struct.unpack("<" + layout, self._bytes(struct.calcsize("<" + layout)))

    def _bytes(self, count: int) -> bytes:
        """Return the next bytes; a count beyond the end of the file is none to make room for."""
        if count > self._size - self._file.tell():
            raise ValueError("cut off")
        return self._file.read(count)

    def _skip(self, count: int) -> None:
        if count > self._size - self._file.tell():
            raise ValueError("cut off")
        self._file.seek(count, os.SEEK_CUR)


def _code(kind: int) -> str:
    if kind not in _SCALARS:
        raise ValueError(f"unknown type {kind}")
    return _SCALARS[kind]

"""Bytes of a keyboard as names of keys. Sequences may come in pieces; unknown ones are nothing."""

import codecs

ESCAPE = 0x1B
SEQUENCES = {
    b"[A": "up",
    b"[B": "down",
    b"[C": "right",
    b"[D": "left",
    b"OA": "up",
    b"OB": "down",
    b"OC": "right",
    b"OD": "left",
    b"[H": "home",
    b"[F": "end",
    b"OH": "home",
    b"OF": "end",
    b"[1~": "home",
    b"[4~": "end",
    b"[7~": "home",
    b"[8~": "end",
    b"[5~": "page-up",
    b"[6~": "page-down",
    b"[Z": "back-tab",
}
SINGLE = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x03": "ctrl-c",
    "\x15": "ctrl-u",
}


class KeyReader:
    """Holds what has come of a key so far."""

    def __init__(self) -> None:
        self._pending = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_waiting(self) -> bool:
        """Whether an escape has come that may be a key, or the beginning of one."""
        return bool(self._pending)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are whole now."""
        data, self._pending = self._pending + data, b""
        keys: list[str] = []
        while data:
            if data[0] != ESCAPE:
                end = data.find(b"\x1b")
                piece, data = (data, b"") if end < 0 else (data[:end], data[end:])
                keys += [SINGLE.get(char, char) for char in self._decoder.decode(piece)]
                continue
            size = _length(data[1:])
            if size is None:
                self._pending = data
                break
            if size == 0:  # two escapes, or escape and another key
                keys.append("escape")
            elif (name := SEQUENCES.get(data[1 : 1 + size])) is not None:
                keys.append(name)
            data = data[1 + size :]
        return keys

    def settle(self) -> list[str]:
        """Return what has come when nothing more does: an escape by itself is the key."""
        pending, self._pending = self._pending, b""
        return ["escape"] if pending == b"\x1b" else []


def _length(after: bytes) -> int | None:
    """Return how many bytes after an escape belong to it; None: the end has not come."""
    if not after:
        return None
    if after[:1] == b"O":
        return 2 if len(after) > 1 else None
    if after[:1] != b"[":
        return 0
    for place, byte in enumerate(after[1:], 2):
        if 0x40 <= byte <= 0x7E:
            return place
    return None

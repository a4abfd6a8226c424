"""A transport that writes down what is done to it, as strict as the strictest loop, and ways to cut bytes apart."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any


class Wire(asyncio.Transport):
    """One end of a connection; what the network does, the test does by hand."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.is_closed = self.is_aborted = self.is_lost = self.has_eof = self.is_paused = False
        self.unflushed_bytes = 0
        self.is_reset = False
        """The other side has reset the connection, and nobody has noticed yet."""
        protocol.connection_made(self)

    def take(self) -> bytes:
        """What was written since the last call."""
        taken = bytes(self.written)
        self.written.clear()
        return taken

    def read(self, data: bytes) -> None:
        """Let the protocol have what came, unless it is not reading."""
        if not self.is_closing():
            assert not self.is_paused, "it is not reading"
            self.protocol.data_received(data)

    def end(self) -> None:
        """The other side has closed its sending side."""
        if not self.is_closing() and not self.protocol.eof_received():
            self.close()

    def lose(self) -> None:
        """The connection is gone."""
        self.is_lost = self.is_closed = True
        self.protocol.connection_lost(None)

    # asyncio.Transport

    def write(self, data: Any) -> None:
        if self.is_lost or self.has_eof:  # uvloop raises for both, asyncio for the second
            raise RuntimeError("written to after its end")
        if not self.is_closing():
            self.written += data

    def write_eof(self) -> None:
        if self.is_lost:
            raise RuntimeError("ended after it was lost")
        if self.is_reset:
            raise OSError("Transport endpoint is not connected")
        self.has_eof = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_closed

    def is_reading(self) -> bool:
        return not self.is_paused and not self.is_closed

    def pause_reading(self) -> None:
        if not self.is_closed:
            self.is_paused = True

    def resume_reading(self) -> None:
        if not self.is_closed:
            self.is_paused = False

    def get_write_buffer_size(self) -> int:
        return self.unflushed_bytes

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 50000) if name == "peername" else default


def cuts(data: bytes, seeds: range = range(6)) -> Iterator[list[bytes]]:
    """The same bytes whole, one by one, and cut at random."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for seed in seeds:
        yield cut_at_random(data, seed)


def cut_at_random(data: bytes, seed: int) -> list[bytes]:
    """The same bytes in about ten pieces."""
    chance = random.Random(seed)
    places = sorted(chance.sample(range(1, len(data)), min(9, len(data) - 1))) if len(data) > 1 else []
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]

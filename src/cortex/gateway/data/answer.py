"""An unstreamed answer on its way to the client: verbatim and at once, read along for its usage.

Only where the model's name must be put right is the body kept until it is whole (JSON without a stream is of no use in
parts), up to a bound beyond which it goes out as it is.
"""

import msgspec

from cortex.contract.error import UpstreamBroken
from cortex.dialects.error import openai_event
from cortex.dialects.model_splice import spliced
from cortex.dialects.usage import Usage, read_usage, read_usage_in_tail
from cortex.gateway.data.exchange import Exchange

KEPT_BYTES = 256 << 10
TAIL_BYTES = 8192
MAX_RENAMED_BYTES = 64 << 20
MAX_LATE_BYTES = 65536


class UnstreamedAnswer:
    """One answer. ``rename_to``: the model's name the client asked for, None when nothing is to be put right."""

    __slots__ = ("_exchange", "_is_json", "_kept", "_kept_bytes", "_length", "_lines", "_rename_to", "_status", "_tail")

    def __init__(
        self,
        exchange: Exchange,
        status: int,
        lines: bytes,
        length: int | None,
        *,
        rename_to: str | None,
        is_json: bool,
    ) -> None:
        self._exchange = exchange
        self._status = status
        self._lines = lines
        self._length = length
        self._rename_to = rename_to
        self._is_json = is_json
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._tail = b""

    def feed(self, body: bytes, is_complete: bool) -> None:
        """Take what one read brought; the client gets it now, or with the end where it must be put right."""
        if self._is_json and body:
            self._keep(body)
        exchange = self._exchange
        if self._rename_to is not None:
            if is_complete:
                exchange.reply(self._status, self._lines, spliced(self._whole(), self._rename_to))
                return
            if self._kept_bytes <= MAX_RENAMED_BYTES:
                return
            body = self._give_up_renaming()
        if not exchange.is_begun:
            exchange.begin(self._status, self._lines, len(body) if is_complete else self._length)
        if is_complete:
            exchange.finish(body)
        else:
            exchange.write(body)

    def _give_up_renaming(self) -> bytes:
        """What was kept, all of which is to go out as it is."""
        self._rename_to = None
        body = self._whole()
        self._keep_tail(body)
        return body

    def read_usage(self) -> Usage | None:
        """The token counts, when the body was JSON and had them."""
        if not self._is_json:
            return None
        return read_usage(self._whole()) if self._kept else read_usage_in_tail(self._tail)

    def _whole(self) -> bytes:
        kept = self._kept
        return kept[0] if len(kept) == 1 else b"".join(kept)

    def _keep(self, body: bytes) -> None:
        self._kept_bytes += len(body)
        if self._tail:
            self._keep_tail(self._tail + body)
            return
        self._kept.append(body)
        if self._kept_bytes > KEPT_BYTES and self._rename_to is None:
            self._keep_tail(self._whole())

    def _keep_tail(self, body: bytes) -> None:
        self._tail = body[-TAIL_BYTES:]
        self._kept.clear()


class HeldAnswer:
    """An engine's answer that the client does not get as it is: a refusal, or what is translated.

    ``lines``: the headers to pass on with it, should it be passed on after all.
    """

    __slots__ = ("_pieces", "_size_bytes", "lines")

    def __init__(self, lines: bytes) -> None:
        self.lines = lines
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def feed(self, body: bytes, is_complete: bool) -> None:
        """Take what one read brought. Raises: UpstreamBroken when it is far too much."""
        self._size_bytes += len(body)
        if self._size_bytes > MAX_RENAMED_BYTES:
            raise UpstreamBroken(f"The engine's answer is larger than {MAX_RENAMED_BYTES >> 20} MiB.")
        self._pieces.append(body)

    def whole(self) -> bytes:
        """Return all of it."""
        return b"".join(self._pieces)

    def read_usage(self) -> Usage | None:
        """The token counts, when it had them."""
        return read_usage(self.whole())


class LateAnswer:
    """An engine's refusal that came after the client was already given the head of a stream and heartbeats.

    Its JSON error becomes the stream's last event; what is no such error is told of in our own words.
    """

    __slots__ = ("_body", "_exchange", "_status")

    def __init__(self, exchange: Exchange, status: int) -> None:
        self._exchange = exchange
        self._status = status
        self._body = b""

    def feed(self, body: bytes, is_complete: bool) -> None:
        """Take what one read brought; the client hears of it at the end."""
        if len(self._body) < MAX_LATE_BYTES:
            self._body += body
        if is_complete:
            self._exchange.finish(self._event())

    def read_usage(self) -> Usage | None:
        """A refusal costs nothing that could be counted."""
        return None

    def _event(self) -> bytes:
        error = _error_member(self._body)
        if error is None:
            said = self._body[:200].decode(errors="replace").strip() or "(nothing)"
            words = f"The engine answered a streamed request with status {self._status} and no stream: {said}"
            return openai_event(UpstreamBroken(words))
        return b'data: {"error":%b}\n\n' % error


def _error_member(body: bytes) -> bytes | None:
    """The ``error`` of an OpenAI-shaped error body as one line of JSON."""
    try:
        return msgspec.json.encode(msgspec.json.decode(body, type=_ErrorBody).error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_openai_error(body: bytes) -> bool:
    """Tell whether a body is an error as OpenAI's clients understand it."""
    return _error_member(body) is not None


class _ErrorBody(msgspec.Struct):
    error: dict[str, object] | str

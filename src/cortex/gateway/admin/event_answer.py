"""A stream of server-sent events as an answer: its end is its reader's end, wherever it was."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.responses import Response, StreamingResponse

from cortex.gateway.ports import Send


def event_response(stream: AsyncIterator[bytes]) -> Response:
    """Return the answer; ``stream`` is closed when its reader is gone."""
    return _Events(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})


class _Events(StreamingResponse):
    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)

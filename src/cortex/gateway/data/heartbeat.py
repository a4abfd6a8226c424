"""A sign of life to a client whose streamed request still waits for a place, so that no proxy in between times out.

A comment, which every reader of event streams passes over; people who look see what their model is at. The first one
commits the answer to status 200.
"""

from cortex.fleet.outlook import Outlook, in_words
from cortex.gateway.data.exchange import Exchange

HEADERS = b"content-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"


def beat(exchange: Exchange, request_id: bytes, outlook: Outlook | None) -> None:
    """Send one."""
    if not exchange.is_begun:
        exchange.begin(200, b"%bx-request-id: %b\r\n" % (HEADERS, request_id), None)
    words = "waiting for the model" if outlook is None else in_words(outlook)
    exchange.write(f": {words}\n\n".encode())

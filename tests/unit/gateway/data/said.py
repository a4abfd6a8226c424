"""What engines say, as bytes: events of a stream, chunks of HTTP, whole answers."""

import msgspec

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}],"model":"m"}\n\n'
COMMENT = b": still here\n\n"
DONE = b"data: [DONE]\n\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def token(text: str = "word") -> bytes:
    """One event with content."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}],"model":"m"}\n\n' % text.encode()


def usage(prompt: int, completion: int) -> bytes:
    """The event that only tells what the answer cost."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return b"data: %b\n\n" % msgspec.json.encode({"choices": [], "usage": counts})


def chunked(*pieces: bytes, end: bool = False) -> bytes:
    """Pieces as HTTP chunks, with the last chunk when ``end``."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if end else b"")


def whole(body: bytes, status: int = 200, kind: bytes = b"application/json", more: bytes = b"") -> bytes:
    """A whole answer with a length."""
    return b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        status,
        kind,
        len(body),
        more,
        body,
    )

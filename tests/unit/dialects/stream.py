"""Event streams as engines write them, for tests."""


def event(payload: bytes, *, end: bytes = b"\n\n", gap: bytes = b" ") -> bytes:
    """One ``data:`` event."""
    return b"data:" + gap + payload + end


def delta(fields: bytes, *, finish: bytes = b"null", model: bytes = b"m", more: bytes = b"") -> bytes:
    """One chunk of a chat as llama.cpp writes it."""
    return (
        b'{"choices":[{"finish_reason":%b,"index":0,"delta":{%b}}],"created":1,"id":"c","model":"%b",'
        b'"object":"chat.completion.chunk"%b}' % (finish, fields, model, more)
    )


def text(words: bytes, **more: bytes) -> bytes:
    """A chunk with content; ``words`` are JSON text."""
    return delta(b'"content":"%b"' % words, **more)


def usage_only(model: bytes = b"m", more: bytes = b"") -> bytes:
    """The chunk that follows the last when usage was asked for."""
    return (
        b'{"choices":[],"created":1,"id":"c","model":"%b","object":"chat.completion.chunk",'
        b'"usage":{"completion_tokens":2,"prompt_tokens":3,"total_tokens":5}%b}' % (model, more)
    )


ROLE_ONLY = delta(b'"role":"assistant","content":null')
FINISH = delta(b"", finish=b'"stop"')
DONE = b"[DONE]"


def stream(*payloads: bytes, end: bytes = b"\n\n", gap: bytes = b" ") -> bytes:
    """Events one after the other."""
    return b"".join(event(payload, end=end, gap=gap) for payload in payloads)

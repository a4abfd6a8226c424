"""Makes a whole answer of an engine into a whole ``response``, by the machine that also makes its stream."""

import msgspec

from cortex.dialects.chat_echo import without_echo
from cortex.dialects.chat_reader import read_answer
from cortex.dialects.responses_answer import Answer

_encode = msgspec.json.Encoder().encode


def reply(body: bytes, answer: Answer, echo: str = "") -> bytes:
    """Return the ``response`` object for an engine's answer. ``echo``: see ``chat_echo``.

    Raises: UpstreamError when that answer is of no use.
    """
    for event in without_echo(read_answer(body), echo):
        answer.take(event)
    answer.end()
    if answer.failure is not None:
        raise answer.failure
    return _encode(answer.final)

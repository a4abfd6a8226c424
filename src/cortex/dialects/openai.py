"""OpenAI's dialect as engines speak it themselves: requests and answers pass through, only errors are ours."""

from cortex.contract.error import CortexError
from cortex.dialects.error import openai_body


class OpenAi:
    """Implements ``Dialect``."""

    name = "openai"
    stream_type = b"text/event-stream"
    translate = None

    def names(self, model: str) -> tuple[str, ...]:
        """See ``Dialect``."""
        return (model,)

    def error_body(self, error: CortexError, status: int, request_id: str) -> bytes:
        """See ``Dialect``."""
        return openai_body(error)

    def heartbeat(self, words: str, model: str) -> bytes:
        """A comment, which every reader of event streams passes over; people who look see what is going on."""
        return f": {words}\n\n".encode()


OPENAI = OpenAi()

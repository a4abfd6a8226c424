"""``GET /openapi.json``: the document, made when it is first asked for, and the same bytes from then on."""

import asyncio
from functools import cache

import msgspec

from cortex.contract.key import Key
from cortex.gateway.data.page import Answer


async def openapi_page(_body: bytes, key: Key | None = None) -> Answer:
    """Answer with the document; it is the same for whoever may ask at all."""
    return Answer(200, await asyncio.to_thread(document_bytes))


@cache
def document_bytes() -> bytes:
    """Return the document as JSON."""
    from cortex.gateway.data.reference.document import document  # a gateway that nobody asks for it does without

    return msgspec.json.encode(document())

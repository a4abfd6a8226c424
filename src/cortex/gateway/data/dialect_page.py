"""What dialects have besides inference: counting tokens, responses that are kept, Ollama's pages about models; and the
document that describes all of it.

Finds what writes the answer to a path; all of them may take time, so the answers are awaited. What they say is said
elsewhere.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from cortex import __version__
from cortex.contract.error import MalformedRequest, ModelNotFound
from cortex.contract.key import Key
from cortex.dialects.ollama_page import find_entry, ps_page, show_page, shown_name, tags_page, version_page
from cortex.gateway.data import response_page
from cortex.gateway.data.async_page import Write
from cortex.gateway.data.background import BackgroundCalls
from cortex.gateway.data.key_door import check_model, entries_for, names_in
from cortex.gateway.data.page import Answer
from cortex.gateway.data.reference.served import openapi_page
from cortex.gateway.data.response_owner import OwnRunning, OwnShelf
from cortex.gateway.ports import FleetReads, ResponseShelf

if TYPE_CHECKING:
    from cortex.gateway.data.token_count import TokenCounter

RESPONSES = b"/v1/responses/"

_encode = msgspec.json.Encoder().encode


class WriteFor(Protocol):
    """Makes the answer to a body, as far as a key may know it."""

    async def __call__(self, body: bytes, /, key: Key | None = None) -> Answer:
        """Answer. Raises: CortexError."""
        ...


class DialectPages:
    """``created_s``: since when models are told to be."""

    def __init__(
        self,
        reads: FleetReads,
        counter: "TokenCounter",
        shelf: ResponseShelf,
        background: BackgroundCalls,
        *,
        created_s: float,
    ) -> None:
        self.background = background
        self._reads = reads
        self._shelf = shelf
        self._since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created_s))
        self._fixed: dict[bytes, dict[bytes, WriteFor]] = {
            b"/v1/messages/count_tokens": {b"POST": counter.answer},
            b"/api/tags": {b"GET": _said(lambda key: tags_page(entries_for(key, reads.model_entries()), self._since))},
            b"/api/ps": {b"GET": _said(lambda key: ps_page(entries_for(key, reads.model_entries())))},
            b"/api/version": {b"GET": _said(lambda _: version_page(__version__))},
            b"/api/show": {b"POST": self._show},
            b"/openapi.json": {b"GET": openapi_page},
        }

    def find(self, path: bytes, query: bytes, key: Key | None = None) -> Mapping[bytes, Write] | None:
        """Return what writes the answer, by method; None where nothing of this kind is served. Raises: CallerError.

        ``key``: the one that the request was let in by.
        """
        if path.startswith(RESPONSES) and len(path) > len(RESPONSES):
            return self._response(path[len(RESPONSES) :], query, key)
        found = self._fixed.get(path)
        return None if found is None else {method: partial(write, key=key) for method, write in found.items()}

    def _response(self, rest: bytes, query: bytes, key: Key | None) -> Mapping[bytes, Write] | None:
        quoted, _, what = rest.partition(b"/")
        try:
            response_id = unquote_to_bytes(quoted).decode()
        except UnicodeDecodeError:
            raise MalformedRequest("The response's id in the path is not UTF-8 text.") from None
        asked, shelf = dict(parse_qsl(query.decode("latin-1"))), OwnShelf(self._shelf, key)
        running = OwnRunning(self.background, key)
        if what == b"":
            return {
                b"GET": _asking(partial(response_page.retrieve, shelf, running, response_id, asked)),
                b"DELETE": _asking(partial(response_page.delete, shelf, running, response_id)),
            }
        if what == b"cancel":
            return {b"POST": _asking(partial(response_page.cancel, shelf, running, response_id))}
        if what == b"input_items":
            return {b"GET": _asking(partial(response_page.list_input_items, shelf, response_id, asked))}
        return None

    async def _show(self, body: bytes, key: Key | None = None) -> Answer:
        name = shown_name(body)
        entries = self._reads.model_entries()
        entry = find_entry(entries, name)
        check_model(key, name, lambda _: () if entry is None else names_in(entries, str(entry["id"])))
        if entry is None:
            raise ModelNotFound(f"model '{name}' not found", model=name)
        return Answer(200, _encode(show_page(entry, self._since)))


def _asking(answer: Callable[[], Awaitable[Answer]]) -> Write:
    """What needs no body."""

    async def write(_body: bytes) -> Answer:
        return await answer()

    return write


def _said(page: Callable[[Key | None], dict[str, object]]) -> WriteFor:
    async def write(_body: bytes, key: Key | None = None) -> Answer:
        return Answer(200, _encode(page(key)))

    return write

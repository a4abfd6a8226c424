"""Reads ``POST /v1/responses``: what is asked, in OpenAI chat's words once everything it needs has been supplied.

What an engine of one's own cannot do is left out, by name in ``dropped``, where the client can do without it. Items
that are referred to, and what a request goes on from, come from records of earlier responses.

Source: OpenAI's API reference and the types of its Python SDK (3.57.0), Codex 0.169's requests (captured 2026-11).
"""

from collections.abc import Iterator

import msgspec

from cortex.contract.error import CallerError, PreviousResponseNotFound
from cortex.dialects.chat_request import ChatRequest, Content, ImagePart
from cortex.dialects.client_body import malformed, read_member
from cortex.dialects.interface import Need
from cortex.dialects.responses_item import Call, Piece, Result, Spoken, read_item, read_tag
from cortex.dialects.responses_record import items_by_id, read_record, response_of_item
from cortex.dialects.responses_tool import Toolbox
from cortex.dialects.responses_turn import messages_of
from cortex.dialects.responses_wire import answer_format_of, is_absent, read_wire, thinking_of

MAX_NEEDS = 100
"""Pictures elsewhere and earlier responses that one request may name."""

_encode = msgspec.json.Encoder().encode


class _AdditionalTools(msgspec.Struct):
    tools: list[msgspec.Raw] = []


_decode_additional = msgspec.json.Decoder(_AdditionalTools).decode


class ResponsesRequest:
    """One request. ``dropped``: what is left out, by its type."""

    def __init__(self, body: bytes) -> None:
        self.wire = wire = read_wire(body)
        self.model: str = wire.model
        self.is_stored = wire.store is not False
        self.is_background = wire.background is True
        self.dropped: list[str] = ["top_logprobs"] if wire.top_logprobs else []
        self.toolbox = Toolbox()
        self._items: list[msgspec.Raw] = []
        self._before: list[msgspec.Raw] = []
        self._pieces: dict[int, Piece | None] = {}
        """What the own items mean, by their places; a reference is not there until it has been supplied."""
        self._references: dict[str, list[tuple[int, str]]] = {}
        """Ids of responses, and of their items which own items, by their places, refer to."""
        self._pictures: dict[str, str | None] = {}
        self._supplied: set[Need] = set()
        self.call_ids: frozenset[str] = frozenset()
        """Ids that calls of the conversation have already; known once it has been asked for as a chat."""
        for place, raw in enumerate(wire.tools or ()):
            self.toolbox.add(raw, f"tools.{place}")
        self._take_input()
        if len(self.needs) > MAX_NEEDS:
            raise malformed("input", f"names more than {MAX_NEEDS} pictures and responses that are elsewhere")
        self.toolbox.check()
        self.tool_choice = None if is_absent(wire.tool_choice) else self.toolbox.choose(wire.tool_choice)
        self.dropped += self.toolbox.dropped
        self._answer_format = answer_format_of(wire.text)
        self.thinking = thinking_of(wire.reasoning)

    @property
    def needs(self) -> tuple[Need, ...]:
        """What has to be supplied yet."""
        ids = (self.wire.previous_response_id, *self._references)
        responses = (Need(kind="response", ref=each) for each in ids if each)
        pictures = (Need(kind="image", ref=url) for url in self._pictures)
        return tuple(need for need in dict.fromkeys((*responses, *pictures)) if need not in self._supplied)

    @property
    def items(self) -> list[msgspec.Raw]:
        """Every item of the conversation so far, with pictures as they were fetched."""
        return [*self._before, *map(self._with_pictures_inside, range(len(self._items)))]

    def supply(self, need: Need, value: bytes | None) -> None:
        """Take what was needed. Raises: CallerError when the request cannot be served with it."""
        if need.kind == "image":
            self._pictures[need.ref] = _picture(need.ref, value)
        else:
            self._supply_response(need.ref, value)
        self._supplied.add(need)

    def chat_request(self) -> ChatRequest:
        """Return the request as OpenAI chat has it. Everything needed must have been supplied."""
        wire, pieces = self.wire, [*self._earlier(), *self._own()]
        messages = messages_of(wire.instructions or "", pieces, self.toolbox.chat_name)
        self.call_ids = frozenset(piece.call_id for piece in pieces if isinstance(piece, Call))
        if not messages:
            raise malformed("input", "there is nothing in it to answer")
        return ChatRequest(
            model=self.model,
            messages=messages,
            is_stream=wire.stream is True,
            tools=tuple(self.toolbox.tools),
            tool_choice=self.tool_choice,
            is_parallel=wire.parallel_tool_calls if self.toolbox.tools else None,
            max_tokens=wire.max_output_tokens,
            temperature=wire.temperature,
            top_p=wire.top_p,
            presence_penalty=wire.presence_penalty,
            frequency_penalty=wire.frequency_penalty,
            thinking=self.thinking,
            answer_format=self._answer_format,
        )

    def forget(self) -> None:
        """Let go of what is needed neither for the answer nor to be kept; no chat can be asked for after that."""
        wire = self.wire
        kept = self.items if self.is_stored else []
        self._items, self._before, self._pictures, self._pieces = kept, [], {}, {}
        self.toolbox.tools = []
        wire.input = None
        # What is told back must not hold on to the body that it stands in.
        wire.tools = [tool.copy() for tool in wire.tools or ()]
        wire.tool_choice = wire.tool_choice.copy()
        if wire.text is not None and wire.text.format is not None:
            wire.text.format.schema = wire.text.format.schema.copy()

    def _take_input(self) -> None:
        given = self.wire.input
        if isinstance(given, str):
            message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}
            given = [msgspec.Raw(_encode(message))]
        for place, raw in enumerate(given or ()):
            self._items.append(raw)
            self._take_item(place, raw)

    def _take_item(self, place: int, raw: msgspec.Raw) -> None:
        where = f"input.{place}"
        tag = read_tag(raw, where)
        if tag.type == "item_reference" or (tag.type is None and tag.role is None and tag.id):
            response_id = response_of_item(tag.id or "")
            if tag.id is None or response_id is None:
                raise _no_item(where, tag.id)
            self._references.setdefault(response_id, []).append((place, tag.id))
            return
        if tag.type == "additional_tools":
            for at, tool in enumerate(read_member(where, raw, _decode_additional).tools):
                self.toolbox.add(tool, f"{where}.tools.{at}")
            return
        piece = read_item(raw, tag, where)
        self._pieces[place] = piece
        if piece is None and tag.type != "reasoning":
            self.dropped.append(str(tag.type))
        for url in _urls(piece):
            self._pictures.setdefault(url, None)

    def _supply_response(self, ref: str, value: bytes | None) -> None:
        if ref == self.wire.previous_response_id:
            self._before = _items_before(ref, value)
        referred = self._references.get(ref, ())
        found = items_by_id(value) if value is not None and referred else {}
        for place, reference in referred:
            raw = found.get(reference)
            if raw is None:
                raise _no_item(f"input.{place}", reference)
            self._items[place] = raw
            self._pieces[place] = read_item(raw, read_tag(raw, reference), f"input.{place}")

    def _earlier(self) -> Iterator[Piece]:
        for place, raw in enumerate(self._before):
            where = f"{self.wire.previous_response_id}.input.{place}"
            piece = read_item(raw, read_tag(raw, where), where)
            if piece is not None:
                yield piece

    def _own(self) -> Iterator[Piece]:
        for _, piece in sorted(self._pieces.items()):
            if piece is not None:
                yield self._with_pictures(piece)

    def _with_pictures(self, piece: Piece) -> Piece:
        if self._pictures and isinstance(piece, Spoken | Result) and not isinstance(piece.content, str):
            return msgspec.structs.replace(piece, content=self._content(piece.content))
        return piece

    def _content(self, content: Content) -> Content:
        return tuple(
            ImagePart(url=self._pictures.get(part.url) or part.url) if isinstance(part, ImagePart) else part
            for part in content
            if not isinstance(part, str)
        )

    def _with_pictures_inside(self, place: int) -> msgspec.Raw:
        raw = self._items[place]
        if not any(True for _ in _urls(self._pieces.get(place))):
            return raw
        item = msgspec.json.decode(raw)
        for part in item.get("content") or item.get("output"):
            if part.get("image_url") in self._pictures:
                part["image_url"] = self._pictures[part["image_url"]]
        return msgspec.Raw(_encode(item))


def _items_before(ref: str, value: bytes | None) -> list[msgspec.Raw]:
    """Return what a conversation was when a response was given, that one included."""
    if value is None:
        raise PreviousResponseNotFound(
            f"Previous response with id '{ref[:100]}' not found. It was not stored, or is not kept any more: "
            "send the conversation as input.",
            param="previous_response_id",
        )
    record, head = read_record(value)
    if head.status in ("queued", "in_progress"):
        raise CallerError(
            f"previous_response_id: '{ref[:100]}' is still {head.status}; wait until it is completed",
            param="previous_response_id",
        )
    return [*record.input, *head.output]


def _picture(url: str, value: bytes | None) -> str:
    if value is None:
        raise CallerError(f"The picture at {url[:200]} could not be fetched.", param="input")
    return value.decode()


def _no_item(where: str, reference: str | None) -> CallerError:
    return CallerError(
        f"{where}: there is no item with id {(reference or '')[:100]!r}. Items are kept with their response, unless "
        "that had store: false; send the item itself.",
        param=where,
    )


def _urls(piece: Piece | None) -> Iterator[str]:
    content = piece.content if isinstance(piece, Spoken | Result) else ()
    for part in () if isinstance(content, str) else content:
        if isinstance(part, ImagePart) and part.url[:5].lower() != "data:":
            yield part.url

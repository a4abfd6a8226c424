"""Makes what an engine says into the items of a response, and the events that tell a client of them as they come.

    nothing --first content--> created, in_progress --items, one after another--> completed | incomplete | failed

    reasoning       item added, part added, text delta …, text done, part done, item done
    message         item added, part added, text delta …, text done, part done, item done
    function call   item added, arguments delta, arguments done, item done
    custom call     item added, input delta, input done, item done

One item is open at a time, and each is told of as done exactly once; a call is told of when it is whole, so that a cut
one is never executed. A streamed answer and a whole one go through the same machine.

Source: OpenAI's streaming reference and the accumulator of its Python SDK (3.57.0).
"""

import re
from typing import Any, Literal

from cortex.contract.error import CortexError
from cortex.dialects.chat_event import Called, ChatEvent, Counted, Failed, Finished, Reasoned, Said
from cortex.dialects.engine_error import broken_call
from cortex.dialects.interface import Mint
from cortex.dialects.responses_item import sealed
from cortex.dialects.responses_object import Frame, error_object, usage_object
from cortex.dialects.responses_record import item_id
from cortex.dialects.responses_tool import Named, custom_input
from cortex.dialects.responses_wire import ENCRYPTED_REASONING

Event = dict[str, Any]
"""One event, with ``type`` and ``sequence_number`` first."""

_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Answer:
    """One attempt at answering. ``failure``: the client has been told that there will be no answer."""

    def __init__(self, frame: Frame, mint: Mint) -> None:
        self._frame = frame
        self._mint = mint
        request = frame.request
        self._shows_reasoning = request.thinking is None or request.thinking.is_on is not False
        self._seals_reasoning = ENCRYPTED_REASONING in (request.wire.include or ())
        self._call_ids = set(request.call_ids)
        self._calls = 0
        self._output: list[Event] = []
        self._open = ""
        """Type of the item that is under way, empty when none is."""
        self._text: list[str] = []
        self._events: list[Event] = []
        self._sequence = 0
        self._counted: Counted | None = None
        self._finished: Finished | None = None
        self.failure: CortexError | None = None
        self.final: Event | None = None
        """The ``response`` object at its end."""

    def take(self, event: ChatEvent) -> list[Event]:
        """Take what the engine says next; return what the client is told. After a failure nothing more is said."""
        if self.final is not None:
            return []
        match event:
            case Said(text):
                self._say(text)
            case Reasoned(text):
                self._think(text)
            case Called():
                self._call(event)
            case Counted():
                self._counted = event
            case Finished():
                self._finished = event
                if event.has_cut_call and event.reason != "length":
                    self._fail(broken_call())
            case Failed(error):
                self._fail(error)
        return self._told()

    def go_on(self, event: ChatEvent) -> int | None:
        """Take a piece of text that only goes on with the item that is open; return the number of its event.

        None, and nothing taken, for anything else. Nearly all that an engine says is such a piece.
        """
        if not (
            (self._open == "message" and isinstance(event, Said))
            or (self._open == "reasoning" and isinstance(event, Reasoned))
        ):
            return None
        self._text.append(event.text)
        self._sequence += 1
        return self._sequence - 1

    def end(self) -> list[Event]:
        """The engine has said all: return the end. Nothing when it did not finish."""
        if self._finished is None or self.final is not None:
            return []
        self._start()
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._finished.reason)
        self._close("completed" if why is None else "incomplete")
        usage = usage_object(self._counted)
        if why is None:
            self._finish("completed", usage=usage)
        else:
            self._finish("incomplete", usage=usage, incomplete_details={"reason": why})
        return self._told()

    def fail(self, error: CortexError) -> list[Event]:
        """End it with an error, wherever it stands; what was said until then stays."""
        if self.final is None:
            self._fail(error)
        return self._told()

    def _fail(self, error: CortexError) -> None:
        self.failure = error
        self._start()
        if self._open:
            self._output[-1] = self._closed_item("incomplete")
            self._open = ""
        self._finish("failed", usage=usage_object(self._counted), error=error_object(error))

    def _finish(self, status: Literal["completed", "incomplete", "failed"], **members: object) -> None:
        elapsed_s = self._mint.elapsed_s
        if status == "completed" and elapsed_s is not None:
            members["completed_at"] = self._frame.created_at + int(elapsed_s())
        self.final = self._frame.object(status, output=self._output, **members)
        self._tell(f"response.{status}", response=self.final)

    def _start(self) -> None:
        if self._sequence == 0:
            response = self._frame.object("in_progress")
            self._tell("response.created", response=response)
            self._tell("response.in_progress", response=response)

    def _say(self, text: str) -> None:
        if self._open != "message":
            self._add("message", {"status": "in_progress", "role": "assistant", "content": []})
            self._tell_inside("response.content_part.added", content_index=0, part=_text_part(""))
        self._text.append(text)
        self._tell_inside("response.output_text.delta", content_index=0, delta=text, logprobs=[])

    def _think(self, text: str) -> None:
        if not self._shows_reasoning:
            return
        if self._open != "reasoning":
            self._add("reasoning", {"status": "in_progress", "summary": []})
            self._tell_inside("response.reasoning_summary_part.added", summary_index=0, part=_summary_part(""))
        self._text.append(text)
        self._tell_inside("response.reasoning_summary_text.delta", summary_index=0, delta=text)

    def _call(self, called: Called) -> None:
        self._calls += 1
        if self._calls > 1 and self._frame.request.wire.parallel_tool_calls is False:
            return
        named = self._frame.request.toolbox.meaning(called.name)
        kind, member, family = ("function_call", "arguments", "function_call_arguments")
        value = called.arguments
        if named.is_custom:
            kind, member, family = ("custom_tool_call", "input", "custom_tool_call_input")
            value = custom_input(called.arguments)
        item = {"status": "in_progress", member: "", "call_id": self._call_id(called.id), **_names(named)}
        self._add(kind, item)
        if value:
            self._tell_inside(f"response.{family}.delta", delta=value)
        self._tell_inside(f"response.{family}.done", **{member: value})
        self._output[-1] = {**self._output[-1], "status": "completed", member: value}
        self._tell_done()

    def _add(self, kind: str, members: Event) -> None:
        """Begin an item; the one before it is over."""
        self._start()
        self._close("completed")
        item = {"id": item_id(kind, self._frame.id, len(self._output)), "type": kind, **members}
        self._output.append(item)
        self._tell("response.output_item.added", output_index=len(self._output) - 1, item=item)
        self._open = kind if kind in ("message", "reasoning") else ""

    def _close(self, status: Literal["completed", "incomplete"]) -> None:
        """End the item that is open, if one is."""
        if not self._open:
            return
        self._output[-1] = item = self._closed_item(status)
        if self._open == "message":
            part = item["content"][0]
            self._tell_inside("response.output_text.done", content_index=0, text=part["text"], logprobs=[])
            self._tell_inside("response.content_part.done", content_index=0, part=part)
        else:
            part = item["summary"][0]
            self._tell_inside("response.reasoning_summary_text.done", summary_index=0, text=part["text"])
            self._tell_inside("response.reasoning_summary_part.done", summary_index=0, part=part)
        self._tell_done()
        self._open, self._text = "", []

    def _closed_item(self, status: Literal["completed", "incomplete"]) -> Event:
        text = "".join(self._text)
        if self._open == "message":
            return {**self._output[-1], "status": status, "content": [_text_part(text)]}
        item = {**self._output[-1], "status": status, "summary": [_summary_part(text)]}
        return {**item, "encrypted_content": sealed(text)} if self._seals_reasoning else item

    def _call_id(self, wanted: str) -> str:
        """Return the engine's id of a call, or a new one when clients could not tell its result from another's."""
        if wanted in self._call_ids or not _WELL_FORMED_ID.fullmatch(wanted):
            wanted = self._mint.new_id("call_")
        self._call_ids.add(wanted)
        return wanted

    def _tell_done(self) -> None:
        self._tell("response.output_item.done", output_index=len(self._output) - 1, item=self._output[-1])

    def _tell_inside(self, kind: str, **members: object) -> None:
        self._tell(kind, item_id=self._output[-1]["id"], output_index=len(self._output) - 1, **members)

    def _tell(self, kind: str, **members: object) -> None:
        self._events.append({"type": kind, "sequence_number": self._sequence, **members})
        self._sequence += 1

    def _told(self) -> list[Event]:
        told, self._events = self._events, []
        return told


def _names(named: Named) -> dict[str, str]:
    return {"name": named.name, "namespace": named.namespace} if named.namespace else {"name": named.name}


def _text_part(text: str) -> Event:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _summary_part(text: str) -> Event:
    return {"type": "summary_text", "text": text}

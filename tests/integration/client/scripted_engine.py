"""An engine that speaks OpenAI chat and says what a test wants, behind a real gateway; for synchronous clients too.

    fleet.engine.use(calls(("get_weather", {"city": "Oslo"})), says("It rains."))

Requests are answered in their order by what was given last; the last answer is given to all that follow. An answer is
streamed where a stream was asked for, as llama-server writes it.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from tests.integration.gateway.hostile_engine import (
    DONE,
    SSE_HEAD,
    USAGE,
    HostileEngine,
    Script,
    Turn,
    event,
    json_answer,
    usage_event,
)
from tests.integration.gateway.raw_client import LIMIT_S

from cortex.testing.fake_neuron import FakeNeuron

SCRIPTED = "lab/scripted"

OVERFLOW = {
    "error": {
        "code": 400,
        "message": "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 9000,
        "n_ctx": 4096,
    }
}
BUSY = {"error": {"code": 503, "message": "slots busy", "type": "unavailable_error"}}
CRASH = {"error": {"code": 500, "message": "out of memory", "type": "server_error"}}
"""What llama-server answers to what does not fit, when it is full, and when it fails."""


class ScriptedEngine:
    """One engine and the neuron that it belongs to, on a loop of their own in a thread."""

    def __init__(self, engine: HostileEngine, neuron: FakeNeuron, loop: asyncio.AbstractEventLoop) -> None:
        self.neuron = neuron
        self.loop = loop
        self._engine = engine

    def use(self, *scripts: Script) -> None:
        """Answer the requests from now on with these."""

        async def change() -> None:
            self._engine.all_turns.clear()
            self._engine.scripts = list(scripts)

        self.run(change())

    @property
    def asked(self) -> list[dict[str, Any]]:
        """What it was asked since the last ``use``, in order."""
        return [turn.json() for turn in list(self._engine.all_turns)]

    @property
    def request_count(self) -> int:
        """How many requests have reached it since the last ``use``, whole or not."""
        return len(self._engine.all_turns)

    @property
    def last(self) -> dict[str, Any]:
        """What it was asked last."""
        return self.asked[-1]

    def make_cold(self) -> None:
        """Have the model unloaded; it is loaded by the next request."""

        async def change() -> None:
            self.neuron.unload(SCRIPTED)

        self.run(change())

    def run(self, work: Any) -> Any:
        """Run something where the engine runs."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT_S)


@contextlib.contextmanager
def scripted_engine(parallel: int | None = None) -> Iterator[ScriptedEngine]:
    """Run one; its model is loaded, and takes so many requests at once."""
    up: concurrent.futures.Future[ScriptedEngine] = concurrent.futures.Future()
    leave = threading.Event()

    async def live() -> None:
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            engine = await stack.enter_async_context(HostileEngine(says("nothing was scripted")))
            url = f"http://127.0.0.1:{engine.port}"
            neuron = await stack.enter_async_context(FakeNeuron(engine_url=url, vram_mb=(2000,)))
            neuron.parallel = parallel
            neuron.put(SCRIPTED)
            up.set_result(ScriptedEngine(engine, neuron, loop))
            await loop.run_in_executor(None, leave.wait)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        yield up.result(LIMIT_S)
    finally:
        leave.set()
        thread.join(LIMIT_S)


def says(*pieces: str, finish: str = "stop", reasoning: str = "") -> Script:
    """Answer with text, piece by piece in a stream."""

    async def script(turn: Turn) -> None:
        await turn.body()
        if not turn.json().get("stream"):
            message = {"role": "assistant", "content": "".join(pieces)}
            await turn.finish(whole({**message, "reasoning_content": reasoning} if reasoning else message, finish))
            return
        thought = [delta_event({"reasoning_content": reasoning})] if reasoning else []
        await stream(turn, *thought, *(delta_event({"content": piece}) for piece in pieces), finish=finish)

    return script


def calls(*wanted: tuple[str, dict[str, Any]], text: str = "") -> Script:
    """Answer with calls of tools: each a name and its arguments."""
    return calls_raw(*((name, msgspec.json.encode(given).decode()) for name, given in wanted), text=text)


def calls_raw(*wanted: tuple[str, str], text: str = "", finish: str = "tool_calls") -> Script:
    """Answer with calls of tools whose arguments are the text given, JSON or not."""

    async def script(turn: Turn) -> None:
        await turn.body()
        serial = len(turn.engine.all_turns)
        made = [
            {"id": f"call_{serial}_{index}", "type": "function", "function": {"name": name, "arguments": given}}
            for index, (name, given) in enumerate(wanted)
        ]
        if not turn.json().get("stream"):
            await turn.finish(whole({"role": "assistant", "content": text or None, "tool_calls": made}, finish))
            return
        pieces = [delta_event({"content": text})] if text else []
        for index, call in enumerate(made):
            arguments = call["function"]["arguments"]
            begun = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
            pieces.append(delta_event({"tool_calls": [begun]}))
            half = len(arguments) // 2
            pieces += [
                delta_event({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
                for part in (arguments[:half], arguments[half:])
            ]
        await stream(turn, *pieces, finish=finish)

    return script


def refuses(status: str, body: dict[str, Any]) -> Script:
    """Answer with an error of the engine's."""

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(msgspec.json.encode(body), status))

    return script


def breaks_after(*pieces: str) -> Script:
    """Say this much and be gone, as a killed engine is."""

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(event(), *(delta_event({"content": piece}) for piece in pieces))
        turn.reset()

    return script


def by(choose: Callable[[dict[str, Any]], Script]) -> Script:
    """Answer each request by what is asked: for clients that ask more than one thing at once."""

    async def script(turn: Turn) -> None:
        await turn.body()
        await choose(turn.json())(turn)

    return script


def results_in(body: dict[str, Any]) -> list[str]:
    """What tools said, as the engine is told."""
    return [str(message["content"]) for message in body["messages"] if message["role"] == "tool"]


def delta_event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One event of a chat stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": SCRIPTED, "choices": [choice]}
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


async def stream(turn: Turn, *events: bytes, finish: str) -> None:
    """Send a whole stream."""
    await turn.send(SSE_HEAD)
    await turn.events(event(model=SCRIPTED), *events, delta_event({}, finish))
    if turn.json().get("stream_options", {}).get("include_usage"):
        await turn.events(usage_event(model=SCRIPTED))
    await turn.events(DONE)
    await turn.finish()


def whole(message: dict[str, Any], finish: str) -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": SCRIPTED, "choices": [choice]}
    return json_answer(msgspec.json.encode({**body, "usage": USAGE}))

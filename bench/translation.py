"""``python -m bench.translation``: what translating costs by itself, without any network.

A request: a coding agent's of 100 KB is read and written anew, as a server of no known kind takes it, and as llama.cpp
does, whose tools have keywords taken out of their schemas. What was taken out is remembered, so an agent's second turn
costs less than its first. A chunk: one of the engine's event stream, taken apart and said anew, in each dialect.
Processor time, so that others on the machine do not count.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count

from bench.agent import agent_request
from bench.dialect import ANTHROPIC, OLLAMA, OPENAI, RESPONSES, Dialect, encoded, orders
from bench.table import markdown
from cortex.dialects.anthropic import ANTHROPIC as ANTHROPIC_DIALECT
from cortex.dialects.engine import GENERIC, LLAMACPP, EngineTraits
from cortex.dialects.interface import Mint, Tap, Translation
from cortex.dialects.ollama import OLLAMA_CHAT
from cortex.dialects.openai_stream import StreamTap
from cortex.dialects.responses import RESPONSES as RESPONSES_DIALECT
from cortex.dialects.translating_tap import TranslatingTap

ROUNDS = 60
CHUNKS = 2000
CONTEXT_TOKENS = 131_072
REQUEST_GOAL_MS = 1.5

_CHUNK = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" word%d"}}],"created":1760000000,'
    b'"id":"chatcmpl-7Qd2fWbC","model":"bench","object":"chat.completion.chunk"}\n\n'
)
_DIALECTS = (OPENAI, ANTHROPIC, RESPONSES, OLLAMA)
_TRANSLATE: dict[str, Callable[[bytes, Mint], Translation]] = {
    ANTHROPIC.name: ANTHROPIC_DIALECT.translate,
    RESPONSES.name: RESPONSES_DIALECT.translate,
    OLLAMA.name: OLLAMA_CHAT.translate,
}


def main() -> int:
    """Print the section; the exit code is 1 when a goal is missed."""
    text = "\n".join(lines())
    print(text)
    return int("missed" in text)


def lines() -> list[str]:
    """Return the section of a report."""
    same = [encoded(agent_request(orders(1, 0, is_spread=False)))] * ROUNDS
    new = [encoded(agent_request(orders(1, 0, is_spread=False), number)) for number in range(ROUNDS)]
    head = ["translated", "cost", "goal"]
    rows = [
        _request("an agent's request of 100 KB, for a server of no known kind", same, GENERIC),
        _request("the same for llama.cpp, with tools that came before", same, LLAMACPP),
        _request("the same for llama.cpp, with tools never seen", new, LLAMACPP),
        *([f"a chunk, {each.title}", f"{chunk_us(each):.2f} us", ""] for each in _DIALECTS),
    ]
    return ["### Translation", "", *markdown([head, *rows])]


def _request(title: str, bodies: Sequence[bytes], traits: EngineTraits) -> list[str]:
    spent_ms = request_ms(bodies, traits)
    reached = "reached" if spent_ms <= REQUEST_GOAL_MS else "**missed**"
    return [title, f"{spent_ms:.2f} ms", f"at most {REQUEST_GOAL_MS:.1f} ms: {reached}"]


def request_ms(bodies: Sequence[bytes], traits: EngineTraits) -> float:
    """Return the median of what it takes to read each body and to write it for an engine, in milliseconds of CPU."""
    spent = []
    for body in bodies:
        begun_s = time.thread_time()
        ANTHROPIC_DIALECT.translate(body, _mint()).body(traits, "bench", CONTEXT_TOKENS)
        spent.append((time.thread_time() - begun_s) * 1e3)
    return statistics.median(spent)


def chunk_us(dialect: Dialect) -> float:
    """Return what one chunk costs once a stream is under way, in microseconds of CPU; OpenAI's passes through."""
    chunks = [_CHUNK % number for number in range(CHUNKS)]
    spent = []
    for _ in range(ROUNDS // 4):
        tap = _tap(dialect)
        tap.feed(chunks[0], 0.0)
        begun_s = time.thread_time()
        for chunk in chunks:
            tap.feed(chunk, 0.0)
        spent.append((time.thread_time() - begun_s) / CHUNKS * 1e6)
    return statistics.median(spent)


def _tap(dialect: Dialect) -> Tap:
    if dialect is OPENAI:
        return StreamTap("bench", strip_usage=True)
    translation = _TRANSLATE[dialect.name](encoded(dialect.body("hello")), _mint())
    translation.body(GENERIC, "bench", CONTEXT_TOKENS)
    return TranslatingTap(translation.writer())


def _mint() -> Mint:
    numbers = count()
    return Mint(epoch_s=1_760_000_000.0, new_id=lambda prefix: f"{prefix}{next(numbers):024}")


if __name__ == "__main__":
    sys.exit(main())

"""``POST /v1/messages/count_tokens``: the same translation as a message, counted by the engine's own tokenizer.

Nothing is generated, loaded or queued, and no slot is taken. Where the model is not loaded, its engine cannot count, or
there are pictures, of which no engine's tokenizer knows, the number is estimated, which the header
``x-cortex-token-count`` says: ``exact`` or ``estimate``.

Source: llama-server's ``/apply-template`` and ``/tokenize``, vLLM's ``/tokenize``; mistral.rs and SGLang count nothing.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Protocol

import msgspec

from cortex.contract.error import UpstreamError
from cortex.contract.key import Key
from cortex.dialects.anthropic_request import AnthropicRequest, read_count
from cortex.dialects.engine import EngineTraits, traits_of
from cortex.fleet.effect import Target
from cortex.gateway.data.demand import BYTES_PER_TOKEN
from cortex.gateway.data.exchange import JSON_HEADERS
from cortex.gateway.data.key_door import check_model, names_in
from cortex.gateway.data.page import Answer
from cortex.gateway.ports import FleetReads
from cortex.kit.http_client import HttpReply
from cortex.kit.json_fault import NOT_JSON

PICTURE_TOKENS = 1024
"""What a picture is taken for. Models make 256 (Gemma) to some thousands (Qwen-VL, by its size) of one."""

MAX_AT_ONCE = 8
"""Clients ask a dozen times at once (Claude Code's /context, measured 2026-10); engines tokenize beside their work."""

DEADLINE_S = 10.0
MAX_ANSWER_BYTES = 32 << 20

log = logging.getLogger(__name__)


class Client(Protocol):
    """Asks engines; ``kit.http_client.HttpClient`` does."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        deadline_s: float,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        tls: ssl.SSLContext | None = None,
    ) -> HttpReply:
        """Return a whole answer. Raises: UpstreamError."""


class _Prompt(msgspec.Struct):
    prompt: str


class _Tokens(msgspec.Struct):
    tokens: list[msgspec.Raw]


class _Count(msgspec.Struct):
    count: int


class TokenCounter:
    """Counts for one gateway. ``tls_of``: the context for a target's ``https``, None: what the system trusts."""

    def __init__(
        self,
        reads: FleetReads,
        client: Client,
        tls_of: Callable[[Target], ssl.SSLContext | None] = lambda _: None,
    ) -> None:
        self._reads = reads
        self._tls_of = tls_of
        self._client = client
        self._turn = asyncio.Semaphore(MAX_AT_ONCE)

    async def answer(self, body: bytes, key: Key | None = None) -> Answer:
        """Answer one request, let in by a key or without. Raises: CallerError, NoHealthyNode, ModelNotFound."""
        request = read_count(body)
        check_model(key, request.model, lambda name: names_in(self._reads.model_entries(), name))
        target = self._reads.place_of(request.model)
        pictures = request.take_out_pictures()
        count = await self._ask(request, target) if target is not None else None
        how = b"estimate" if count is None or pictures else b"exact"
        if count is None:
            count = max(1, (len(body) - sum(map(len, pictures))) // BYTES_PER_TOKEN)
        tokens = count + PICTURE_TOKENS * len(pictures)
        return Answer(
            200,
            msgspec.json.encode({"input_tokens": tokens}),
            b"%bx-cortex-token-count: %b\r\n" % (JSON_HEADERS, how),
        )

    async def _ask(self, request: AnthropicRequest, target: Target) -> int | None:
        traits = traits_of(target.kind)
        if not traits.counting:
            return None
        body = request.body(traits, target.engine_model or target.model, target.context)
        try:
            async with asyncio.timeout(DEADLINE_S), self._turn:
                return await self._count(target, traits, body)
        except (UpstreamError, TimeoutError, *NOT_JSON) as error:
            log.debug("%s on %s does not count: %s", target.model, target.node, error)
            return None

    async def _count(self, target: Target, traits: EngineTraits, body: bytes) -> int:
        if traits.counting == "chat":
            return msgspec.json.decode(await self._post(target, "/tokenize", body), type=_Count).count
        prompt = msgspec.json.decode(await self._post(target, "/apply-template", body), type=_Prompt).prompt
        asked = msgspec.json.encode({"content": prompt, "add_special": True, "parse_special": True})
        return len(msgspec.json.decode(await self._post(target, "/tokenize", asked), type=_Tokens).tokens)

    async def _post(self, target: Target, path: str, body: bytes) -> bytes:
        headers = {"content-type": "application/json"}
        if target.credential:
            headers["authorization"] = f"Bearer {target.credential}"
        reply = await self._client.request(
            "POST",
            target.url + path,
            body=body,
            headers=headers,
            deadline_s=DEADLINE_S,
            max_answer_bytes=MAX_ANSWER_BYTES,
            tls=self._tls_of(target),
        )
        if reply.status != 200:
            raise UpstreamError(f"{path} answered with status {reply.status}")
        return reply.body

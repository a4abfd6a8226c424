"""Tokens are counted by the engine's own tokenizer where it has one, and estimated, which is said, where it has not."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.data.hand_loop import LateLoop
from tests.unit.gateway.data.rig import Fleet

from cortex.contract.error import CallerError, CortexError, UpstreamTimeout
from cortex.fleet.effect import Target
from cortex.gateway.data.page import Answer
from cortex.gateway.data.token_count import DEADLINE_S, MAX_AT_ONCE, PICTURE_TOKENS, TokenCounter
from cortex.kit.http_client import HttpReply

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello there"}], "tools": []}


class Engine:
    """Answers by path; implements ``token_count.Client``."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.at_once = self.most_at_once = 0

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Any = None,
        deadline_s: float,
        max_answer_bytes: int,
        tls: object,
    ) -> HttpReply:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        path = url.rpartition("/")[2].replace("-", "_")
        self.asked.append((url, msgspec.json.decode(body), headers))
        answer = self.answers.get(path)
        if isinstance(answer, Exception):
            raise answer
        return HttpReply(404 if answer is None else 200, {}, msgspec.json.encode(answer))


def counted(
    engine: Engine, kind: str | None = "llamacpp", asked: object = None, credential: str | None = None
) -> tuple[int, str]:
    """Return the number, and how it was found."""
    answer = asyncio.run(answered(engine, kind, asked, credential))
    how = dict(line.split(": ") for line in answer.headers.decode().strip().split("\r\n"))["x-cortex-token-count"]
    return msgspec.json.decode(answer.body)["input_tokens"], how


async def answered(engine: Engine, kind: str | None, asked: object = None, credential: str | None = None) -> Answer:
    fleet = Fleet()
    if kind is not None:
        fleet.places["m"] = Target(
            node="a",
            model="m",
            generation=1,
            url="http://x/i/7",
            engine_model="theirs",
            kind=kind,
            credential=credential,
        )
    return await TokenCounter(fleet, engine).answer(msgspec.json.encode(asked or ASKED))


def test_llama_server_writes_the_prompt_by_its_template_and_counts_it() -> None:
    engine = Engine(apply_template={"prompt": "<s>hello"}, tokenize={"tokens": [1, 2, {"id": 3}]})
    assert counted(engine) == (3, "exact")
    (first, asked, _), (second, content, _) = engine.asked
    assert (first, second) == ("http://x/i/7/apply-template", "http://x/i/7/tokenize")
    assert asked["model"] == "theirs"
    assert content == {"content": "<s>hello", "add_special": True, "parse_special": True}


def test_vllm_counts_a_chat() -> None:
    engine = Engine(tokenize={"count": 12, "tokens": []})
    assert counted(engine, "vllm") == (12, "exact")
    assert engine.asked[0][1]["messages"] == [{"role": "user", "content": "hello there"}]


def test_an_engine_that_wants_a_key_gets_its_own() -> None:
    engine = Engine(tokenize={"count": 12})
    counted(engine, "vllm", credential="secret")
    assert engine.asked[0][2]["authorization"] == "Bearer secret"


@pytest.mark.parametrize("kind", [None, "mistralrs", "sglang", "openai"])
def test_where_nobody_counts_it_is_estimated(kind: str | None) -> None:
    engine = Engine()
    tokens, how = counted(engine, kind)
    assert (tokens, how) == (len(msgspec.json.encode(ASKED)) // 4, "estimate")
    assert engine.asked == []


@pytest.mark.parametrize("answer", [None, UpstreamTimeout("slow"), {"nonsense": 1}, ["x"]])
def test_where_the_engine_fails_it_is_estimated(answer: Any) -> None:
    assert counted(Engine(apply_template={"prompt": "x"}, tokenize=answer))[1] == "estimate"


BASE64 = {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}
BY_URL = {"type": "url", "url": "https://pictures.example/a.png"}


@pytest.mark.parametrize("source", [BASE64, BY_URL])
def test_a_picture_counts_as_one_and_not_by_its_bytes_nor_is_it_fetched(source: dict[str, str]) -> None:
    seen = [{"type": "text", "text": "hello there"}, {"type": "image", "source": source}]
    asked = {"model": "m", "messages": [{"role": "user", "content": seen}]}
    engine = Engine(tokenize={"count": 12})
    assert counted(engine, "vllm", asked) == (12 + PICTURE_TOKENS, "estimate")
    assert engine.asked[0][1]["messages"] == [{"role": "user", "content": "hello there"}]
    tokens, how = counted(Engine(), None, asked)
    assert 12 < tokens - PICTURE_TOKENS < 60
    assert how == "estimate"


def test_many_at_once_do_not_flood_an_engine() -> None:
    engine = Engine(tokenize={"count": 1})

    async def ask() -> None:
        fleet = Fleet()
        fleet.places["m"] = Target(node="a", model="m", generation=1, url="http://x", engine_model="m", kind="vllm")
        counter = TokenCounter(fleet, engine)
        await asyncio.gather(*[counter.answer(msgspec.json.encode(ASKED)) for _ in range(40)])

    asyncio.run(ask())
    assert engine.most_at_once == MAX_AT_ONCE


def test_an_engine_that_hangs_delays_nobody_twice() -> None:
    class Hanging(Engine):
        async def request(self, *_: Any, **__: Any) -> HttpReply:
            self.asked.append(("", {}, {}))
            await asyncio.Event().wait()
            raise AssertionError

    engine = Hanging()

    async def ask() -> None:
        fleet = Fleet()
        fleet.places["m"] = Target(node="a", model="m", generation=1, url="http://x", engine_model="m", kind="vllm")
        counter, loop = TokenCounter(fleet, engine), asyncio.get_running_loop()
        asking = [loop.create_task(counter.answer(msgspec.json.encode(ASKED))) for _ in range(40)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(engine.asked) == MAX_AT_ONCE
        assert isinstance(loop, LateLoop)
        loop.skipped_s = DEADLINE_S + 1
        await asyncio.gather(*asking)

    with asyncio.Runner(loop_factory=LateLoop) as runner:
        runner.run(ask())
    assert len(engine.asked) == MAX_AT_ONCE, "who waited as long as the engine hung is answered, too"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"model":"m"}', b'{"messages":[]}', b'{"model":7,"messages":[]}'])
def test_a_malformed_request_is_refused(body: bytes) -> None:
    async def ask() -> None:
        await TokenCounter(Fleet(), Engine()).answer(body)

    with pytest.raises(CallerError):
        asyncio.run(ask())


def test_an_unknown_model_is_not_counted_for() -> None:
    class Nothing(Fleet):
        def place_of(self, name: str) -> Target | None:
            raise CortexError(name)

    async def ask() -> None:
        await TokenCounter(Nothing(), Engine()).answer(msgspec.json.encode(ASKED))

    with pytest.raises(CortexError):
        asyncio.run(ask())

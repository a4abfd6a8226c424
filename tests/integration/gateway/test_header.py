"""Which headers cross the gateway, in which direction."""

import re

import pytest
from tests.integration.gateway.hostile_engine import Turn, chat_body, good, json_answer
from tests.integration.gateway.scene import ASK, ASK_STREAM, Scene, scene

KEPT_BACK = {
    "connection": "keep-alive, x-named",
    "keep-alive": "timeout=5",
    "proxy-connection": "keep-alive",
    "proxy-authorization": "Basic c2VjcmV0",
    "te": "trailers",
    "trailer": "x-t",
    "x-named": "by connection",
    "authorization": "Bearer sk-secret",
    "x-api-key": "sk-secret",
    "api-key": "sk-secret",
    "cookie": "session=secret",
    "accept-encoding": "gzip, br",
    "x-conversation-id": "c-1",
}

PASSED_ON = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "congo=t61rcWkgMzE",
    "baggage": "userId=alice",
    "user-agent": "OpenAI/Python 2.0",
    "accept": "text/event-stream",
    "content-type": "application/json; charset=utf-8",
    "openai-organization": "org-1",
    "x-custom": "a, b; c=d",
}


@scene()
async def test_what_is_the_callers_own_never_reaches_the_engine(it: Scene) -> None:
    await it.ask(ASK, *(f"{name.title()}: {value}" for name, value in KEPT_BACK.items()))
    seen = it.turns[0].headers
    assert seen.keys() & KEPT_BACK.keys() == set()
    assert "secret" not in str(seen)


@scene()
async def test_everything_else_is_passed_on(it: Scene) -> None:
    await it.ask(ASK, *(f"{name.title()}: {value}" for name, value in PASSED_ON.items()))
    seen = it.turns[0].headers
    assert {name: seen[name] for name in PASSED_ON} == PASSED_ON
    assert seen["host"] == f"127.0.0.1:{it.engine.port}"


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["whole", "stream"])
@scene()
async def test_a_request_id_goes_in_and_out(it: Scene, ask: dict) -> None:
    answer = await it.ask(ask, "X-Request-Id: mine-42")
    assert answer.header("x-request-id") == it.turns[0].headers["x-request-id"] == "mine-42"


@pytest.mark.parametrize("asked", [None, "", "x" * 129, "two words", "caf\xe9"])
@scene()
async def test_without_a_usable_request_id_one_is_made(it: Scene, asked: str | None) -> None:
    headers = () if asked is None else (f"x-request-id: {asked}",)
    first, second = await it.ask(ASK, *headers), await it.ask(ASK, *headers)
    made = [answer.header("x-request-id") for answer in (first, second)]
    assert made == [turn.headers["x-request-id"] for turn in it.turns]
    assert len(set(made)) == 2
    assert all(re.fullmatch(r"req-[0-9a-f]+-[0-9a-f]+", one) for one in made)


@scene()
async def test_an_engines_request_id_does_not_replace_ours(it: Scene) -> None:
    async def has_its_own(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(chat_body(), "200 OK", "x-request-id: the-engines"))

    it.use(has_its_own)
    answer = await it.ask(ASK, "x-request-id: mine")
    assert [value for name, value in answer.headers if name == "x-request-id"] == ["mine"]


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("/v1/chat/completions", "POST", b"{}", 400),
        ("/v1/chat/completions", "POST", b'{"model":"org/n"}', 404),
        ("/v1/chat/completions", "GET", b"", 405),
        ("/nothing", "GET", b"", 404),
        ("/v1/models", "GET", b"", 200),
        ("/health", "GET", b"", 200),
    ],
)
@scene()
async def test_every_answer_of_the_gateways_own_carries_the_request_id(
    it: Scene, path: str, method: str, body: bytes, status: int
) -> None:
    answer = await it.ask(body, "x-request-id: mine", path=path, method=method)
    assert (answer.status, answer.header("x-request-id")) == (status, "mine")


@scene()
async def test_of_the_engines_headers_only_those_about_the_answer_reach_the_client(it: Scene) -> None:
    hop_by_hop = ("connection: x-inner", "x-inner: 1", "keep-alive: timeout=5, max=100", "proxy-authenticate: Basic")
    kept = ("server: llama.cpp", "x-ratelimit-remaining: 7", "set-cookie: a=1", "set-cookie: b=2")

    async def says_much(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(chat_body(), "200 OK", *hop_by_hop, *kept))

    it.use(says_much)
    answer = await it.ask()
    names = [name for name, _ in answer.headers]
    assert {"connection", "keep-alive", "proxy-authenticate"}.isdisjoint(names)
    assert answer.header("server") == "llama.cpp"
    assert answer.header("x-ratelimit-remaining") == "7"
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert "x-inner" not in names, "named by the engine's Connection header"


@scene(good, trusted_proxies=("127.0.0.0/8",))
async def test_a_request_that_a_trusted_proxy_forwards_is_served(it: Scene) -> None:
    assert (await it.ask(ASK, "x-forwarded-for: 10.0.0.7")).status == 200
    assert (await it.ask(ASK, "x-forwarded-for: 8.8.8.8")).status == 403

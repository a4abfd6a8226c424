"""What Prometheus sees of requests, read from the metrics door as a scraper reads it."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families
from tests.integration.gateway.hostile_engine import DONE, SSE_HEAD, Turn, chunk, event, good, json_answer
from tests.integration.gateway.raw_client import connected, request
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Scene, scene

HERE = {"model": MODEL, "node": "n0"}


@scene()
async def test_metrics_after_a_proxied_request(it: Scene) -> None:
    await it.ask()
    await it.ask(ASK_STREAM)
    assert await it.metric("cortex_requests_total", **HERE) == 2
    assert await it.metric("cortex_request_duration_seconds_count", **HERE) == 2
    assert await it.metric("cortex_request_errors_total", **HERE) == 0
    assert await it.metric("cortex_cold_starts_total", **HERE) == 0
    assert await it.metric("cortex_prompt_tokens_total", **HERE) == 6
    assert await it.metric("cortex_completion_tokens_total", **HERE) == 10
    assert await it.metric("cortex_time_to_first_token_seconds_count", **HERE) == 1
    assert await it.metric("cortex_tokens_per_second_count", **HERE) >= 1


@scene()
async def test_the_names_of_opentelemetry_are_there_too(it: Scene) -> None:
    await it.ask(ASK_STREAM)
    chat = {"gen_ai_operation_name": "chat", "gen_ai_request_model": MODEL}
    for name in ("gen_ai_server_request_duration_seconds", "gen_ai_server_time_to_first_token_seconds"):
        assert await it.metric(f"{name}_count", **chat) == 1
    assert await it.metric("gen_ai_client_token_usage_sum", gen_ai_token_type="input", **chat) == 3
    assert await it.metric("gen_ai_client_token_usage_sum", gen_ai_token_type="output", **chat) == 5


@scene()
async def test_requests_in_flight_are_counted_while_they_are(it: Scene) -> None:
    go_on = asyncio.Event()

    async def waits(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD + chunk(event("a")))
        await go_on.wait()
        await turn.events(DONE)
        await turn.finish()

    it.use(waits)
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        await client.head()
        await client.piece()
        assert await it.metric("cortex_requests_in_flight", **HERE) == 1
        assert await it.metric("cortex_client_connections") == 1
        go_on.set()
        await client.body()
    assert await it.metric("cortex_requests_in_flight") == 0


@scene()
async def test_what_reached_no_node_is_counted_apart(it: Scene) -> None:
    await it.ask({**ASK, "model": "org/n"})
    await it.ask(b"{}")
    assert await it.metric("cortex_requests_total", model="unknown", node="") == 2
    assert await it.metric("cortex_request_errors_total") == 0, "they are the callers' own"
    assert await it.metric("cortex_request_duration_seconds_count") == 0, "of successful requests"


@scene()
async def test_a_model_that_only_a_caller_made_up_makes_no_series(it: Scene) -> None:
    for number in range(20):
        await it.ask({**ASK, "model": f"made/up-{number}"})
    assert await it.metric("cortex_requests_total", model="unknown") == 20


HOSTILE = [
    *(f"made/up-{number}" for number in range(30)),
    'a"} 1\ncortex_requests_total{model="',
    "x" * 5000,
    "\x00\x1b[31m\u202e",
    "__proto__",
    "..%2f..%2fetc/passwd",
]
PATHS = (
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/api/chat",
)


async def series(it: Scene) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return every series of a scrape, values left out."""
    text = (await it.get_metrics()).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@scene()
async def test_nothing_that_a_caller_can_make_up_becomes_a_series(it: Scene) -> None:
    for path in PATHS:
        await it.ask({**ASK, "model": "made/up", "input": "hi", "max_tokens": 3}, path=path)
        await it.ask(b"{", path=path)
    before = await series(it)
    for path in PATHS:
        for name in HOSTILE:
            body = {**ASK, "model": name, "input": "hi", "max_tokens": 3}
            await it.ask(body, f"x-request-id: {name[:20]!a}", f"user-agent: {name[:50]!a}", path=path)
    for number in range(20):
        assert (await it.get(f"/v1/made-up/{number}?x={number}")).status == 404
    assert await series(it) - before == set()


@scene(loaded=False)
async def test_a_cold_start_is_counted(it: Scene) -> None:
    await it.ask()
    await it.ask()
    assert await it.metric("cortex_cold_starts_total", **HERE) == 1
    assert await it.metric("cortex_requests_total", **HERE) == 2


@scene()
async def test_an_engines_failure_is_an_error_and_a_callers_is_none(it: Scene) -> None:
    async def by_path(turn: Turn) -> None:
        await turn.body()
        status = "500 Internal Server Error" if "embeddings" in turn.path else "400 Bad Request"
        await turn.finish(json_answer(b"{}", status))

    it.use(by_path)
    await it.ask()
    assert await it.metric("cortex_request_errors_total", **HERE) == 0
    await it.ask(path="/v1/embeddings")
    assert await it.metric("cortex_request_errors_total", **HERE) == 1
    assert await it.metric("cortex_requests_total", **HERE) == 2


@scene()
async def test_an_answer_without_usage_counts_no_tokens(it: Scene) -> None:
    async def says_none(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(b'{"choices":[]}'))

    it.use(says_none)
    await it.ask()
    assert await it.metric("gen_ai_client_token_usage_count") == 0


@scene(good)
async def test_the_metrics_door_serves_nothing_else(it: Scene) -> None:
    async with connected(it.gateway.metrics_port) as client:
        await client.send(request(b"", path="/metrics", method="GET"))
        answer = await client.answer()
        assert answer.status == 200
        assert answer.header("content-type").startswith("text/plain")
        assert b"process_resident_memory_bytes" in answer.body
        await client.send(request(ASK))
        assert (await client.answer()).status == 404
        await client.send(request(b"", path="/metrics", method="PUT"))
        assert (await client.answer()).status == 405
    assert (await it.get("/metrics")).status == 404, "nor does the API's door serve metrics"

"""Requests of keys with limits on their whole way: what they take, what they are told, and that it comes back."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from tests.unit.gateway.data.quota_scene import QuotaScene
from tests.unit.gateway.data.rig import DONE, Client, Rig, rig, token, usage, whole
from tests.unit.gateway.data.test_key_door import BEARER, record, with_keys
from tests.unit.gateway.data.test_metric import a_record

from cortex.contract.error import NoRoom
from cortex.contract.key import KeyLimits
from cortex.fleet.quota_holding import MAX_UNBOUNDED_ANSWER
from cortex.gateway.data.limit_gate import used_by

CHAT = b'{"model":"m","max_tokens":20,"messages":[{"role":"user","content":"hello there"}]}'
STREAM = b'{"model":"m","stream":true,' + CHAT[13:]
REPLY = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"total_tokens":30}}'
RESERVED = len(CHAT) // 4 + 20


class Desk:
    """A gateway with one key, and its limiter."""

    def __init__(self, it: Rig, quota: QuotaScene) -> None:
        self.it = it
        self.quota = quota

    def limit(self, **limits: int) -> None:
        self.limits = KeyLimits(**limits)
        with_keys(self.it, record(limits=self.limits))
        self.it.plane.limiter = self.quota.limiter

    def post(self, body: bytes = CHAT, path: bytes = b"/v1/chat/completions") -> Client:
        return self.it.post(body, BEARER, path=path)

    def answered(self, reply: bytes = REPLY, body: bytes = CHAT, path: bytes = b"/v1/chat/completions") -> Client:
        self.it.leases.next(self.it.place())
        client = self.post(body, path)
        self.it.upstream.accept().say(whole(reply))
        return client

    def used(self) -> dict[str, tuple[int, int]]:
        """What the store has counted, once it was told everything."""
        self.quota.loop.advance(5.5)
        key = record(limits=self.limits).key
        return self.quota.store.used(key)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with rig() as it:
        yield Desk(it, QuotaScene())


def test_a_request_takes_its_limits_and_is_settled_with_what_the_engine_told(desk: Desk) -> None:
    desk.limit(requests_per_min=10, tokens_per_min=1000, concurrent_requests=2)
    desk.it.leases.next(desk.it.place())
    client = desk.post()
    assert desk.quota.limiter.in_use() == 1
    desk.it.upstream.accept().say(whole(REPLY))
    assert client.answer.status == 200
    used = desk.used()
    assert (used["requests_per_min"][0], used["tokens_per_min"][0]) == (1, 30)


def test_a_record_that_cannot_be_kept_keeps_no_place_of_the_key(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    desk.limit(concurrent_requests=1)
    monkeypatch.setattr(desk.it.records, "record", fail)
    desk.answered()
    assert desk.quota.limiter.in_use() == 0
    assert "ZeroDivisionError" in caplog.text


def test_a_place_is_given_back_before_the_last_byte_of_the_answer(desk: Desk) -> None:
    desk.limit(concurrent_requests=1)
    desk.it.leases.next(desk.it.place(), desk.it.place())
    first, rest = desk.post(), list[Client]()
    assert desk.post().answer.status == 429

    def ask_again() -> None:
        first.transport.on_write = lambda: None
        rest.append(desk.post())

    first.transport.on_write = ask_again
    desk.it.upstream.accept().say(whole(REPLY))
    desk.it.upstream.accept().say(whole(REPLY))
    assert [client.answer.status for client in (first, *rest)] == [200, 200]


def test_headers_say_how_limits_stand_on_good_answers_too(desk: Desk) -> None:
    desk.limit(requests_per_min=10, tokens_per_min=1000)
    said = desk.answered().answer.headers
    assert said["x-ratelimit-limit-requests"] == "10"
    assert said["x-ratelimit-remaining-requests"] == "9"
    assert said["x-ratelimit-reset-requests"] == "1m0s"
    assert (said["x-ratelimit-limit-tokens"], said["x-ratelimit-remaining-tokens"]) == ("1000", str(1000 - RESERVED))


def test_anthropics_clients_get_their_own_headers(desk: Desk) -> None:
    desk.limit(requests_per_min=10, tokens_per_day=1000)
    said = desk.answered(path=b"/v1/messages").answer.headers
    assert said["anthropic-ratelimit-requests-limit"] == "10"
    assert said["anthropic-ratelimit-requests-remaining"] == "9"
    assert said["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert said["anthropic-ratelimit-tokens-limit"] == "1000"
    assert not any(name.startswith("x-ratelimit") for name in said)


def test_an_engines_own_limits_are_none_of_the_callers(desk: Desk) -> None:
    desk.it.leases.next(desk.it.place())
    client = desk.post()
    desk.it.upstream.accept().say(whole(REPLY, more=b"x-ratelimit-remaining-tokens: 5\r\n"))
    assert "x-ratelimit-remaining-tokens" not in client.answer.headers


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/v1/chat/completions", "rate_limit_error"),
        (b"/v1/responses", "rate_limit_error"),
        (b"/v1/messages", "rate_limit_error"),
        (b"/api/chat", None),
    ],
)
def test_a_limit_that_is_reached_is_a_429_that_says_when_to_come_back(
    desk: Desk, path: bytes, kind: str | None
) -> None:
    desk.limit(requests_per_min=1)
    desk.answered()
    body = b'{"model":"m","input":"hi"}' if path == b"/v1/responses" else CHAT
    refused = desk.post(body, path).answer
    said = msgspec.json.decode(refused.body)["error"]
    words = said if kind is None else said["message"]
    assert refused.status == 429
    assert "The key 'alice' (ctx-0123…) may use 1 requests a minute (requests_per_min)" in words
    assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == ("60", "true")
    assert kind is None or said["type"] == kind
    if kind and path != b"/v1/messages":
        assert said["code"] == "rate_limit_exceeded"
        assert said["details"]["limit"] == "requests_per_min"
    assert desk.it.records[-1].error == "rate_limit_exceeded"


def test_a_budget_that_is_used_up_is_no_rate(desk: Desk) -> None:
    desk.limit(tokens_per_month=RESERVED + 5)
    desk.answered()
    refused = desk.post().answer
    said = msgspec.json.decode(refused.body)["error"]
    assert (refused.status, said["code"], said["type"]) == (429, "insufficient_quota", "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"
    assert int(refused.headers["retry-after"]) > 86400
    assert "tokens_per_month" in said["message"]


def test_too_long_an_answer_is_not_to_be_asked_for_again(desk: Desk) -> None:
    desk.limit(tokens_per_min=10)
    refused = desk.post().answer
    said = msgspec.json.decode(refused.body)["error"]
    assert (refused.status, said["code"], refused.headers["x-should-retry"]) == (429, "tokens_exceed_limit", "false")
    assert "max_tokens" in said["message"]


def test_choices_are_answers_each(desk: Desk) -> None:
    desk.limit(tokens_per_min=1000)
    refused = desk.post(b'{"n":100,' + CHAT[1:]).answer
    assert msgspec.json.decode(refused.body)["error"]["code"] == "tokens_exceed_limit"


def test_a_stream_that_is_cut_counts_as_reserved_and_its_place_comes_back(desk: Desk) -> None:
    desk.limit(tokens_per_min=1000, concurrent_requests=1)
    desk.it.leases.next(desk.it.place())
    client = desk.post(STREAM)
    engine = desk.it.upstream.accept()
    engine.stream(token())
    assert desk.post().answer.status == 429
    client.leave()
    assert desk.used()["tokens_per_min"][0] == len(STREAM) // 4 + 20
    assert desk.answered().answer.status == 200


def test_a_stream_is_settled_with_its_usage(desk: Desk) -> None:
    desk.limit(tokens_per_min=1000)
    desk.it.leases.next(desk.it.place())
    client = desk.post(STREAM)
    desk.it.upstream.accept().stream(token(), usage(5, 2), DONE, end=True)
    assert client.answer.is_whole
    assert client.answer.headers["x-ratelimit-limit-tokens"] == "1000"
    assert desk.used()["tokens_per_min"][0] == 7


def test_a_request_without_a_place_is_one_request_and_no_tokens(desk: Desk) -> None:
    desk.limit(requests_per_min=5, tokens_per_min=1000, concurrent_requests=5)
    desk.it.leases.next(NoRoom("no"))
    assert desk.post().answer.status == 503
    used = desk.used()
    assert (used["requests_per_min"][0], used["tokens_per_min"][0]) == (1, 0)


def test_a_request_that_is_tried_again_counts_once(desk: Desk) -> None:
    desk.limit(requests_per_min=5, tokens_per_min=1000)
    desk.it.leases.next(desk.it.place("a"), desk.it.place("b", "http://y:1"))
    client = desk.post()
    desk.it.upstream.accept().lose()
    desk.it.upstream.accept().say(whole(REPLY))
    assert client.answer.status == 200
    used = desk.used()
    assert (used["requests_per_min"][0], used["tokens_per_min"][0]) == (1, 30)


def test_a_client_that_leaves_while_the_store_is_asked_takes_nothing(desk: Desk) -> None:
    desk.limit(requests_per_min=5, concurrent_requests=1)
    desk.quota.store.mood = "slow"
    client = desk.post()
    client.leave()
    desk.quota.store.mood = "up"
    desk.quota.tasks.go_on()
    assert desk.it.leases.asked == []
    assert desk.used()["requests_per_min"][0] == 0


def test_a_gateway_that_stops_answers_those_that_wait_for_the_store(desk: Desk) -> None:
    desk.limit(requests_per_min=5)
    desk.quota.store.mood = "slow"
    client = desk.post()
    assert client.exchange.handler is not None
    client.exchange.handler.on_shutdown()
    assert client.answer.status == 503
    desk.quota.tasks.go_on()


def test_an_upload_that_comes_while_the_store_is_asked_is_whole(desk: Desk) -> None:
    desk.limit(requests_per_min=5, tokens_per_min=1000)
    desk.quota.store.mood = "slow"
    begin = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n'
    end = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nsound\r\n--b--\r\n'
    kind = (b"content-type", b"multipart/form-data; boundary=b")
    length = (b"content-length", str(len(begin + end)).encode())
    client = desk.it.request(b"POST", b"/v1/audio/transcriptions", kind, length, BEARER)
    client.body(begin)
    client.body(end)
    client.end()
    desk.quota.store.mood = "up"
    desk.it.leases.next(desk.it.place())
    desk.quota.tasks.go_on()
    engine = desk.it.upstream.accept()
    assert engine.received().endswith(begin + end)
    engine.say(whole(b'{"text":"hi"}'))
    assert client.answer.status == 200
    used = desk.used()
    assert (used["requests_per_min"][0], used["tokens_per_min"][0]) == (1, 0)


def test_without_limits_nothing_is_counted(desk: Desk) -> None:
    desk.limit()
    said = desk.answered().answer
    assert said.status == 200
    assert not any("ratelimit" in name for name in said.headers)
    assert desk.quota.store.reports == []


def test_a_response_in_the_background_has_its_place_to_its_end() -> None:
    async def run() -> None:
        with rig() as it:
            desk = Desk(it, QuotaScene())
            desk.limit(concurrent_requests=1)
            it.plane.keep = it.background.keep
            client = desk.post(b'{"model":"m","input":"hi","background":true}', b"/v1/responses")
            assert client.answer.status == 200
            assert desk.post().answer.status == 429
            it.leases.grant(it.place())
            it.upstream.accept().say(whole(REPLY))
            assert desk.quota.limiter.in_use() == 0
            await it.tasks.stop()

    asyncio.run(run())


def test_a_load_is_allowed_as_often_as_the_key_may_cause_one(desk: Desk) -> None:
    desk.limit(cold_starts_per_day=1)
    for is_cold in (False, True):
        client = desk.post()
        about = desk.it.leases.about[-1]
        assert about["no_load_s"] is None
        if is_cold:
            about["allowance"].loading()
        desk.it.leases.grant(desk.it.place(), is_cold=is_cold)
        desk.it.upstream.accept().say(whole(REPLY))
        assert client.answer.status == 200
    assert desk.used()["cold_starts_per_day"] == (1, 0)
    desk.post().leave()
    assert desk.it.leases.about[-1]["no_load_s"] > 3600


def test_the_priority_of_a_key_goes_with_its_requests(desk: Desk) -> None:
    with_keys(desk.it, record(queue_priority=-3))
    desk.post().leave()
    assert desk.it.leases.about[0]["priority"] == -3


def test_an_answer_as_long_as_it_likes_reserves_as_much_as_one_of_which_nothing_is_said(desk: Desk) -> None:
    desk.limit(tokens_per_min=100_000)
    without, endless = CHAT.replace(b'"max_tokens":20,', b""), CHAT.replace(b":20,", b":-1,")
    left = 100_000
    for body in (without, endless):
        answer = desk.answered(body=body).answer
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) == left - len(body) // 4 - MAX_UNBOUNDED_ANSWER
        left -= 30  # what the engine told


def test_of_several_answers_without_a_bound_each_reserves_as_much_as_one(desk: Desk) -> None:
    desk.limit(tokens_per_min=100_000)
    body = CHAT.replace(b'"max_tokens":20,', b'"n":3,')
    answer = desk.answered(body=body).answer
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) == 100_000 - len(body) // 4 - 3 * MAX_UNBOUNDED_ANSWER


def test_embeddings_reserve_no_answer(desk: Desk) -> None:
    desk.limit(tokens_per_min=50)
    body = b'{"model":"m","input":"some words"}'
    answer = desk.answered(b'{"data":[],"usage":{"prompt_tokens":3,"total_tokens":3}}', body, b"/v1/embeddings").answer
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) == 50 - len(body) // 4
    assert desk.used()["tokens_per_min"][0] == 3


@pytest.mark.parametrize(
    ("what", "tokens"),
    [
        ({"total_tokens": 7, "prompt_tokens": 3}, 7),
        ({"total_tokens": None, "prompt_tokens": 3, "completion_tokens": None}, 3),
        ({"outcome": "refused", "attempts": 0}, 0),
        ({"outcome": "engine_error", "time_to_first_token_ms": None}, 0),
        ({"outcome": "failed", "time_to_first_token_ms": 5.0}, None),
        ({"outcome": "client_gone", "time_to_first_token_ms": None}, None),
        ({"outcome": "ok"}, None),
    ],
)
def test_what_a_request_took_is_what_is_known_of_it(what: dict[str, object], tokens: int | None) -> None:
    nothing: dict[str, object] = {"total_tokens": None, "prompt_tokens": None, "completion_tokens": None}
    assert used_by(a_record(**(nothing | what))) == tokens

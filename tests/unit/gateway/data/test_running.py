"""What a call says of itself while it runs."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import DONE, Rig, rig, token, usage, whole

from cortex.contract.activity import RunningRequest

UNSTREAMED = b'{"model":"short"}'
STREAMED = b'{"model":"short","stream":true}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        yield one


def seen(it: Rig) -> tuple[RunningRequest, int | None]:
    (call,) = it.plane.running
    return call.look()


def test_who_waits_is_told_by_the_name_that_was_asked_for_and_its_ticket(it: Rig) -> None:
    client = it.post(UNSTREAMED)
    request, ticket = seen(it)
    assert (request.model, request.node, request.state, request.stream) == ("short", "", "waiting", False)
    assert list(it.leases.open) == [ticket]
    client.leave()


def test_what_is_no_stream_is_sent_until_its_answer_is_whole(it: Rig) -> None:
    it.leases.next(it.place("beast", model="org/m"))
    it.post(UNSTREAMED)
    engine = it.upstream.accept()
    request, _ = seen(it)
    assert (request.model, request.node, request.state, request.first_token_s) == ("org/m", "beast", "sent", None)
    engine.say(whole(b'{"id":1}'))
    assert not it.plane.running


def test_tokens_are_told_as_far_as_the_engine_tells_them_on_the_way(it: Rig) -> None:
    it.leases.next(it.place())
    it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token())
    assert seen(it)[0].completion_tokens is None
    engine.more(usage(7, 6))
    assert seen(it)[0].completion_tokens == 6
    engine.more(DONE, end=True)


def test_a_second_place_is_a_second_attempt(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b"))
    it.post(STREAMED)
    it.upstream.refuse()
    request, _ = seen(it)
    assert (request.node, request.attempts) == ("b", 2)
    it.upstream.accept().stream(token(), DONE, end=True)

"""Whether a request may have another place: by its own failures, by the model's budget, by what its body has done."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import DONE, Client, Rig, rig, token, whole

from cortex.contract.error import CapacityError, UpstreamUnreachable
from cortex.fleet.poison import FORGOTTEN_S
from cortex.fleet.retry_budget import FLOOR

BODY = b'{"model":"m","messages":[]}'
REPLY = b'{"model":"m","choices":[]}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        yield one


def kill(it: Rig, *nodes: str, body: bytes = BODY) -> Client:
    """Send a request of which an instance on each of these nodes dies."""
    it.leases.next(*(it.place(node, f"http://{node}:1") for node in nodes))
    client = it.post(body)
    for _ in nodes:
        it.upstream.accept().lose()
    return client


def serve(it: Rig, node: str, body: bytes = BODY) -> Client:
    it.leases.next(it.place(node, f"http://{node}:1"))
    client = it.post(body)
    it.upstream.accept().say(whole(REPLY))
    return client


def test_a_body_that_two_instances_died_with_is_sent_to_no_third_for_a_while(it: Rig) -> None:
    kill(it, "a", "b")
    again = it.post(BODY)
    assert again.answer.status == 502
    assert again.answer.error["code"] == "poison_request"
    assert "retry-after" not in again.answer.headers
    assert it.leases.asked == [("m", ()), ("m", (it.leases.suspected[0][0],))], "nobody was asked"
    assert it.records[-1].outcome == "refused"
    it.loop.advance(FORGOTTEN_S)
    assert serve(it, "c").answer.status == 200


def test_another_body_of_the_same_length_is_none_of_it(it: Rig) -> None:
    kill(it, "a", "b")
    assert serve(it, "c", BODY.replace(b'"m"', b'"n"')).answer.status == 200


def test_a_body_that_an_instance_died_with_before_gets_one_place_only(it: Rig) -> None:
    it.leases.next(it.place("a", "http://a:1"))
    first = it.post(BODY)
    it.upstream.accept().lose()
    it.leases.refuse(CapacityError("nothing else"))
    assert first.answer.status == 503
    second = kill(it, "b")
    assert second.answer.status == 502
    assert len(it.leases.asked) == 3, "its second death was not followed by another place"
    assert it.post(BODY).answer.error["code"] == "poison_request"


def test_an_answer_clears_a_body(it: Rig) -> None:
    """The instance died of something else: the same words were answered by the next one."""
    it.leases.next(it.place("a", "http://a:1"), it.place("b", "http://b:1"))
    it.post(BODY)
    it.upstream.accept().lose()
    it.upstream.accept().say(whole(REPLY))
    assert kill(it, "c", "d").answer.status == 502
    assert it.records[-1].attempts == 2


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
def test_an_answer_to_one_who_asked_before_clears_it_for_all(it: Rig, is_stream: bool) -> None:
    """The same words were under way elsewhere when two instances died: they are not what these died of."""
    body = BODY[:-1] + b',"stream":true}' if is_stream else BODY
    it.leases.next(it.place("c", "http://c:1"))
    earlier = it.post(body)
    engine = it.upstream.accept()
    kill(it, "a", "b", body=body)
    assert it.post(body).answer.error["code"] == "poison_request"
    if is_stream:
        engine.stream(token())
        it.loop.advance(1)
    else:
        engine.say(whole(REPLY))
    it.leases.next(it.place("c", "http://c:1"))
    later = it.post(body)
    assert not later.transport.written, "it waits for its engine"
    earlier.leave()
    later.leave()


def test_many_who_ask_the_same_of_one_instance_are_one_death(it: Rig) -> None:
    a, b = it.place("a", "http://a:1"), it.place("b", "http://b:1")
    it.leases.next(*(a for _ in range(5)))
    clients = [it.post(BODY) for _ in range(5)]
    engines = [it.upstream.accept() for _ in range(5)]
    it.leases.next(*(b for _ in range(5)))
    for engine in engines:
        engine.lose()
    for _ in range(5):
        it.upstream.accept().say(whole(REPLY))
    assert {client.answer.status for client in clients} == {200}


def test_an_instance_that_dies_after_the_first_content_speaks_not_against_the_request(it: Rig) -> None:
    body = b'{"model":"m","stream":true}'
    for node in "abc":
        it.leases.next(it.place(node, f"http://{node}:1"))
        it.post(body)
        engine = it.upstream.accept()
        engine.stream(token())
        engine.lose()
    it.leases.next(it.place("d", "http://d:1"))
    client = it.post(body)
    it.upstream.accept().stream(token(), DONE, end=True)
    assert client.answer.status == 200
    assert client.answer.is_whole


def test_when_everything_fails_retries_are_a_share_of_the_requests(it: Rig) -> None:
    retried = 0
    for number in range(200):
        body = BODY.replace(b"[]", b"[%d]" % number)
        it.leases.next(it.place("a", "http://a:1"), it.place("b", "http://b:1"))
        it.post(body)
        it.upstream.accept().lose()
        if it.upstream.connecting:
            retried += 1
            it.upstream.accept().lose()
        it.leases._plan.clear()
    assert retried <= FLOOR + 0.1 * 200
    assert {record.error for record in it.records} == {"upstream_broken"}


def test_what_was_never_sent_takes_nothing_from_the_budget(it: Rig) -> None:
    for _ in range(3 * FLOOR):
        it.leases.next(it.place("a", "http://a:1"), it.place("b", "http://b:1"))
        client = it.post(BODY)
        it.upstream.refuse()
        it.upstream.accept().say(whole(REPLY))
        assert client.answer.status == 200


def test_a_place_that_failed_is_not_asked_for_again_once_the_request_was_sent(it: Rig) -> None:
    a = it.place("a")
    it.leases.next(a, "wait")
    it.post(BODY)
    it.upstream.accept().lose()
    assert it.leases.asked[-1] == ("m", (a,))
    it.leases.refuse(UpstreamUnreachable("every instance failed"))
    assert it.record.error == "upstream_broken", "what the last place did says more than that there is no other"


def test_a_probe_says_once_that_its_engine_answers_and_before_it_is_over(it: Rig) -> None:
    client = it.post(b'{"model":"m","stream":true}')
    it.leases.grant(it.place(), is_probe=True)
    engine = it.upstream.accept()
    engine.stream()
    it.loop.advance(5)
    assert it.leases.vouched == []
    engine.more(token())
    it.loop.advance(5)
    assert it.leases.vouched == [1]
    engine.more(DONE, end=True)
    assert client.answer.is_whole


def test_who_is_no_probe_says_nothing(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(b'{"model":"m","stream":true}')
    it.upstream.accept().stream(token())
    it.loop.advance(5)
    assert it.leases.vouched == []
    client.leave()

"""All that requests hold of their bodies is counted, and given back whichever way they end."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.gateway.data.rig import Client, Rig, rig, whole

from cortex.gateway.data.body_room import BodyRoom, BodyShare

JSON = (b"content-type", b"application/json")
FORM = (b"content-type", b"multipart/form-data; boundary=cut")
CHAT, MESSAGES, COUNT = b"/v1/chat/completions", b"/v1/messages", b"/v1/messages/count_tokens"
SPEECH = b"/v1/audio/transcriptions"
BODY = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        one.plane.bodies.limit_bytes = 1000
        yield one
        assert one.plane.bodies.taken_bytes == 0


def taken(it: Rig) -> int:
    return it.plane.bodies.taken_bytes


def test_a_share_grows_while_there_is_room_and_is_given_back_when_it_goes() -> None:
    room = BodyRoom(10)
    first, second = BodyShare(room), BodyShare(room)
    assert first.grow(6)
    assert not second.grow(5)
    assert second.grow(4)
    assert (room.taken_bytes, room.turned_away) == (10, 1)
    del first
    assert room.taken_bytes == 4
    del second
    assert room.taken_bytes == 0


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_body_is_held_until_its_answer_begins(it: Rig, path: bytes) -> None:
    it.leases.next("wait")
    client = it.request(b"POST", path, JSON)
    client.body(BODY[:10])
    assert taken(it) == 10
    client.body(BODY[10:])
    client.end()
    assert taken(it) == len(BODY)
    it.leases.grant(it.place())
    engine = it.upstream.accept()
    assert taken(it) == len(BODY)
    engine.say(whole(b'{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'))
    assert client.answer.status == 200
    assert taken(it) == 0


@pytest.mark.parametrize("path", [CHAT, MESSAGES, COUNT])
def test_a_body_that_finds_no_room_is_503_and_told_when_to_come_back(it: Rig, path: bytes) -> None:
    first = it.request(b"POST", CHAT, JSON)
    first.body(bytes(950))
    second = it.request(b"POST", path, JSON)
    second.body(bytes(100))
    answer = second.answer
    assert answer.status == (503 if path == CHAT else 529)
    assert "retry-after" in answer.headers
    assert taken(it) == 950
    first.leave()


def test_a_form_that_finds_no_room_is_503(it: Rig) -> None:
    client = it.request(b"POST", SPEECH, FORM)
    client.body(b'--cut\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + bytes(900))
    assert taken(it) > 900
    client.body(bytes(200))
    assert client.answer.status == 503
    assert client.answer.error["code"] == "buffers_full"


def leaves(client: Client, _: Rig) -> None:
    client.leave()


def is_malformed(client: Client, _: Rig) -> None:
    client.body(b"}")
    client.end()
    assert client.answer.status == 400


def is_too_large(client: Client, it: Rig) -> None:
    it.plane.bodies.limit_bytes = 1 << 40
    client.body(bytes(65 << 20))
    assert client.answer.status == 413


def waits_and_leaves(client: Client, it: Rig) -> None:
    it.leases.next("wait")
    client.body(BODY[1:])
    client.end()
    assert taken(it) == len(BODY)
    client.leave()


def is_cut_by_a_stop(client: Client, _: Rig) -> None:
    assert client.exchange.handler is not None
    client.exchange.handler.on_shutdown()
    client.exchange.handler = None


@pytest.mark.parametrize("end", [leaves, is_malformed, is_too_large, waits_and_leaves, is_cut_by_a_stop])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_nothing_is_held_of_a_request_that_ends_some_other_way(it: Rig, path: bytes, end: Any) -> None:
    client = it.request(b"POST", path, JSON)
    client.body(BODY[:1])
    assert taken(it) == 1
    end(client, it)


@pytest.mark.parametrize("leaves_early", [False, True])
def test_nothing_is_held_of_a_form_once_it_is_on_its_way(it: Rig, leaves_early: bool) -> None:
    it.leases.next(it.place())
    client = it.request(b"POST", SPEECH, FORM)
    client.body(b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n')
    assert taken(it) > 50
    if leaves_early:
        client.leave()
        return
    client.body(b"--cut--\r\n")
    client.end()
    it.upstream.accept().say(whole(b"{}"))
    assert client.answer.status == 200

"""Where a request goes, where it goes next when that fails, and what the client is told when nothing helps."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import Rig, rig, whole

from cortex.contract.error import CortexError, LoadFailed, ModelNotFound, NoHealthyNode, UpstreamUnreachable
from cortex.gateway.data.places import MAX_UNSENT

BODY = b'{"model":"m","messages":[]}'
STREAMED = b'{"model":"m","stream":true}'
REPLY = b'{"model":"m","choices":[]}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        yield one


def test_a_place_that_is_there_at_once_is_used_at_once(it: Rig) -> None:
    it.leases.next(it.place(url="http://gpu:81/i/n0nce"))
    client = it.post(BODY, (b"x-request-id", b"mine"))
    engine = it.upstream.accept()
    head, _, body = engine.received().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /i/n0nce/v1/chat/completions HTTP/1.1\r\nhost: gpu:81\r\n")
    assert b"x-request-id: mine\r\n" in head
    assert body == BODY
    engine.say(whole(REPLY))
    assert (client.answer.status, client.answer.body) == (200, REPLY)
    assert client.answer.headers["x-request-id"] == "mine"
    assert client.ended == 1
    assert it.leases.released == [1]
    assert it.record.outcome == "ok"


def test_a_place_that_comes_later_is_waited_for(it: Rig) -> None:
    client = it.post(BODY)
    assert not it.upstream.connecting
    assert not client.transport.written
    it.leases.grant(it.place())
    it.upstream.accept().say(whole(REPLY))
    assert client.answer.status == 200


def test_an_idle_connection_is_used_without_a_step_between(it: Rig) -> None:
    place = it.place()
    it.leases.next(place, place)
    it.post(BODY)
    engine = it.upstream.accept()
    engine.say(whole(REPLY))
    engine.received()
    second = it.post(BODY)
    assert not it.upstream.connecting
    assert engine.received().endswith(BODY)
    engine.say(whole(REPLY))
    assert second.answer.is_whole


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ModelNotFound("No model named 'm'."), 404, "invalid_request_error"),
        (NoHealthyNode("No node is healthy."), 503, "unavailable_error"),
        (LoadFailed("'m' could not be loaded on a: out of memory"), 503, "unavailable_error"),
        (CortexError("internal error"), 500, "server_error"),
    ],
    ids=["unknown", "no node", "load failed", "defect"],
)
@pytest.mark.parametrize("is_at_once", [True, False], ids=["at once", "later"])
def test_a_refusal_is_an_error_in_openais_envelope(
    it: Rig, error: CortexError, status: int, kind: str, is_at_once: bool
) -> None:
    it.leases.next(error if is_at_once else "wait")
    client = it.post(BODY)
    if not is_at_once:
        it.leases.refuse(error)
    assert client.answer.status == status
    assert client.answer.is_whole
    assert client.answer.headers["content-type"] == "application/json"
    assert (client.answer.error["message"], client.answer.error["type"]) == (error.message, kind)
    assert client.answer.error["code"] == error.code
    assert it.leases.released == []
    assert (it.record.outcome, it.record.status, it.record.error) == ("refused", status, error.code)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (NoHealthyNode("down"), "2"),
        (LoadFailed("failed", retry_in_s=7.2), "8"),
        (LoadFailed("failed", retry_in_s=0.0), "1"),
        (ModelNotFound("unknown"), None),
    ],
    ids=["goes away", "says when", "now", "stays"],
)
def test_a_refusal_that_goes_away_by_itself_says_when_to_try_again(
    it: Rig, error: CortexError, seconds: str | None
) -> None:
    it.leases.next(error)
    assert it.post(BODY).answer.headers.get("retry-after") == seconds


# what is sent


def test_a_query_goes_to_the_engine_also_when_the_path_was_used_without_one(it: Rig) -> None:
    place = it.place(credential="s3cret")
    it.leases.next(place, place, place)
    it.post(BODY)
    engine = it.upstream.accept()
    lines = []
    for query in (b"a=1", b""):
        engine.say(whole(REPLY))
        engine.received()
        it.post(BODY, query=query)
        request = engine.received()
        assert b"authorization: Bearer s3cret\r\n" in request
        lines.append(request.partition(b"\r\n")[0])
    engine.say(whole(REPLY))
    path = b"POST /v1/chat/completions"
    assert lines == [path + b"?a=1 HTTP/1.1", path + b" HTTP/1.1"]


def test_the_engine_is_asked_in_its_own_name_and_the_client_answered_in_the_one_it_used(it: Rig) -> None:
    it.leases.next(it.place(model="org/m", engine_model="default"))
    client = it.post(b'{"model":"alias"}')
    engine = it.upstream.accept()
    assert engine.received().endswith(b'{"model":"default"}')
    answer = whole(b'{"id":1,"model":"default"}')
    engine.say(answer[:-5], answer[-5:])
    assert client.answer.body == b'{"id":1,"model":"alias"}'
    assert client.answer.headers["content-length"] == str(len(client.answer.body))
    assert it.leases.asked == [("alias", ())]
    assert it.record.model == "org/m"


@pytest.mark.parametrize("is_whole", [True, False], ids=["in one read", "in two"])
def test_only_what_is_json_is_renamed(it: Rig, is_whole: bool) -> None:
    sound = b'RIFF{"model":"default"}'
    it.leases.next(it.place(engine_model="default"))
    client = it.post(b'{"model":"m"}', path=b"/v1/audio/speech")
    answer = whole(sound, kind=b"audio/wav")
    it.upstream.accept().say(*((answer,) if is_whole else (answer[:-7], answer[-7:])))
    assert client.answer.body == sound


def test_an_engine_that_answers_in_a_name_of_its_own_is_corrected(it: Rig) -> None:
    """llama.cpp does, whatever it was asked for."""
    it.leases.next(it.place())
    client = it.post(BODY)
    it.upstream.accept().say(whole(b'{"model":"/models/m.gguf"}'))
    assert client.answer.body == b'{"model":"m"}'


# another place


def test_a_place_lost_after_sending_is_replaced_once(it: Rig) -> None:
    a, b = it.place("a"), it.place("b", "http://y:1")
    it.leases.next(a, b)
    client = it.post(BODY)
    it.upstream.accept().lose()
    second = it.upstream.accept()
    assert second.received().endswith(BODY)
    second.say(whole(REPLY))
    assert client.answer.status == 200
    assert it.leases.asked == [("m", ()), ("m", (a,))]
    assert it.leases.suspicions() == [("a", "died")]
    assert it.leases.released == [1, 2]
    assert (it.record.node, it.record.attempts) == ("b", 2)


def test_a_request_that_killed_two_places_gets_no_third(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"), it.place("c", "http://z:1"))
    client = it.post(BODY)
    it.upstream.accept().lose()
    it.upstream.accept().lose()
    assert client.answer.status == 502
    assert client.answer.error["code"] == "upstream_broken"
    assert client.answer.headers["retry-after"] == "2"
    assert it.leases.suspicions() == [("a", "died"), ("b", "died")]
    assert not it.upstream.connecting
    assert (it.record.outcome, it.record.attempts) == ("failed", 2)


def test_unreachable_places_are_replaced_up_to_a_bound(it: Rig) -> None:
    for number in range(MAX_UNSENT + 1):
        it.leases.next(it.place(f"n{number}", f"http://n{number}:1"))
    client = it.post(BODY)
    for _ in range(MAX_UNSENT):
        assert not client.is_over
        it.upstream.refuse()
    assert not it.upstream.connecting
    assert client.answer.status == 502
    assert client.answer.error["code"] == "upstream_unreachable"
    assert it.leases.suspicions() == [(f"n{number}", "unreachable") for number in range(MAX_UNSENT)]
    assert len(it.leases.released) == MAX_UNSENT
    assert it.record.attempts == MAX_UNSENT


def test_a_place_that_was_only_unreachable_may_be_given_again(it: Rig) -> None:
    place = it.place()
    it.leases.next(place, place)
    client = it.post(BODY)
    it.upstream.refuse()
    assert it.leases.asked == [("m", ()), ("m", ())]
    it.upstream.accept().say(whole(REPLY))
    assert client.answer.status == 200


def test_one_request_speaks_against_a_place_once_however_often_it_tries_it(it: Rig) -> None:
    """Else a patient request would lay a place to rest for all the others."""
    place = it.place("a")
    it.leases.next(*(place for _ in range(MAX_UNSENT)))
    client = it.post(BODY)
    for _ in range(MAX_UNSENT):
        it.upstream.refuse()
    assert client.answer.status == 502
    assert it.leases.suspicions() == [("a", "unreachable"), *(("a", "gone") for _ in range(MAX_UNSENT - 1))]


def test_a_place_that_was_gone_can_still_die(it: Rig) -> None:
    place = it.place("a", "http://x:1/i/nonce")
    it.leases.next(place, place, "wait")
    it.post(BODY)
    it.upstream.accept().say(whole(b"{}", status=404))
    it.upstream.accept().lose()
    assert it.leases.suspicions() == [("a", "gone"), ("a", "died")]
    it.leases.refuse(UpstreamUnreachable())


def test_where_a_request_goes_is_logged_for_whoever_debugs(it: Rig, caplog: pytest.LogCaptureFixture) -> None:
    it.leases.next(it.place("beast"))
    with caplog.at_level("DEBUG", logger="cortex"):
        client = it.post(BODY, (b"x-request-id", b"mine"))
        it.upstream.accept().say(whole(REPLY))
    assert client.answer.status == 200
    (record,) = [record for record in caplog.records if record.getMessage() == "chat to m on beast"]
    assert vars(record)["request_id"] == "mine"


def test_a_place_that_fails_within_its_own_grant_gives_its_ticket_back_once(it: Rig) -> None:
    it.upstream.fails_at_once = 1
    it.leases.next(it.place(), "wait")
    client = it.post(BODY)
    assert it.leases.released == [1]
    it.leases.grant(it.place())
    it.upstream.accept().say(whole(REPLY))
    assert client.answer.status == 200
    assert it.leases.released == [1, 2]


def test_a_client_that_leaves_after_such_a_failure_gives_back_the_ticket_it_waits_with(it: Rig) -> None:
    it.upstream.fails_at_once = 1
    it.leases.next(it.place(), "wait")
    it.post(BODY).leave()
    assert it.leases.released == [1, 2]


def test_a_refusal_after_a_failed_place_is_what_the_client_hears(it: Rig) -> None:
    it.leases.next(it.place("a", model="org/m"), "wait")
    client = it.post(BODY)
    it.upstream.accept().lose()
    it.leases.refuse(NoHealthyNode("No node is healthy."), model="")
    assert client.answer.status == 503
    assert it.leases.released == [1]
    assert (it.record.outcome, it.record.model, it.record.node) == ("refused", "org/m", "a")


def test_without_another_place_the_client_hears_what_became_of_the_last_one(it: Rig) -> None:
    it.leases.next(it.place("a"), "wait")
    client = it.post(BODY)
    it.upstream.refuse()
    it.leases.refuse(UpstreamUnreachable("Every instance of 'm' failed this request."))
    assert client.answer.status == 502
    assert client.answer.error["message"].endswith("Connection refused.")
    assert (it.record.outcome, it.record.attempts) == ("failed", 1)


def test_a_stale_idle_connection_is_replaced_by_a_fresh_one_to_the_same_place(it: Rig) -> None:
    place = it.place()
    it.leases.next(place, place)
    it.post(BODY)
    engine = it.upstream.accept()
    engine.say(whole(REPLY))
    client = it.post(BODY)
    engine.lose()
    again = it.upstream.accept()
    assert again.received().endswith(BODY)
    again.say(whole(REPLY))
    assert client.answer.status == 200
    assert it.leases.suspected == []
    assert it.leases.released == [1, 2]


def test_a_fresh_connection_that_breaks_is_no_stale_one(it: Rig) -> None:
    place = it.place()
    it.leases.next(place, place)
    it.post(BODY)
    engine = it.upstream.accept()
    engine.say(whole(REPLY))
    it.post(BODY)
    engine.lose()
    it.upstream.accept().lose()
    assert it.leases.suspicions() == [("a", "died")]
    it.leases.refuse(NoHealthyNode("down"))


# the fence


FENCED = {"prefix": {"url": "http://x:1/i/n0nce"}, "credential": {"credential": "k"}}


@pytest.mark.parametrize("status", [401, 404, 503])
@pytest.mark.parametrize("keys", FENCED.values(), ids=FENCED)
def test_what_a_fence_answers_is_asked_once_elsewhere(it: Rig, status: int, keys: dict[str, str]) -> None:
    it.leases.next(it.place("a", **keys), it.place("b", "http://y:1/i/other"))
    client = it.post(BODY)
    first = it.upstream.accept()
    first.say(whole(b'{"error":"not here"}', status))
    assert first.is_dropped
    it.upstream.accept().say(whole(REPLY))
    assert client.answer.status == 200
    assert it.leases.suspicions() == [("a", "gone")]
    assert it.leases.asked == [("m", ()), ("m", ())]
    assert (it.record.node, it.record.attempts) == ("b", 2)


def test_a_second_such_answer_is_the_engines_own(it: Rig) -> None:
    said = b'{"error":{"message":"no such path"}}'
    it.leases.next(it.place("a", "http://x:1/i/a"), it.place("b", "http://y:1/i/b"))
    client = it.post(BODY)
    it.upstream.accept().say(whole(b"", 404))
    it.upstream.accept().say(whole(said, 404))
    assert (client.answer.status, client.answer.body) == (404, said)
    assert (it.record.outcome, it.record.status) == ("engine_error", 404)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_what_an_engine_without_a_fence_answers_is_passed_on(it: Rig, status: int) -> None:
    said = b'{"error":{"message":"engine\'s own words"}}'
    it.leases.next(it.place())
    client = it.post(BODY)
    it.upstream.accept().say(whole(said, status, more=b"retry-after: 9\r\n"))
    assert (client.answer.status, client.answer.body) == (status, said)
    assert client.answer.headers["retry-after"] == "9"
    assert it.leases.suspected == []
    assert it.record.outcome == "engine_error"


def test_an_engines_error_status_for_a_stream_is_passed_on_as_it_is(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    it.upstream.accept().say(whole(b'{"error":{"message":"bad tool"}}', 400))
    assert client.answer.status == 400
    assert client.answer.error["message"] == "bad tool"
    assert it.record.outcome == "engine_error"

"""The machine behind streams and whole answers keeps to its own rules whatever it is told."""

from tests.unit.dialects.responses_scene import a_mint, asked

from cortex.contract.error import UpstreamBroken
from cortex.dialects.chat_event import Called, Counted, Failed, Finished, Reasoned, Said
from cortex.dialects.responses_answer import Answer
from cortex.dialects.responses_object import Frame
from cortex.dialects.responses_request import ResponsesRequest
from cortex.dialects.usage import Usage


def an_answer(**members: object) -> Answer:
    return Answer(Frame(id="resp_abc", created_at=100, request=ResponsesRequest(asked(**members))), a_mint())


def test_the_end_waits_until_all_is_said() -> None:
    answer = an_answer()
    answer.take(Said("a"))
    assert answer.end() == []
    assert answer.take(Finished(reason="stop")) == []
    answer.take(Counted(usage=Usage(1, 2, 3)))
    (*_, last) = answer.end()
    assert last["type"] == "response.completed"
    assert last["response"]["usage"]["total_tokens"] == 3
    assert answer.final == last["response"]
    assert answer.end() == []


def test_after_a_failure_nothing_more_is_said() -> None:
    answer = an_answer()
    error = UpstreamBroken("gone")
    answer.take(Reasoned("a"))
    (last,) = answer.take(Failed(error))
    assert last["type"] == "response.failed"
    assert answer.failure is error
    assert answer.take(Said("b")) == answer.end() == answer.fail(UpstreamBroken("again")) == []


def test_items_bear_ids_that_tell_whose_they_are() -> None:
    answer = an_answer()
    for event in (Reasoned("a"), Said("b"), Called(id="c1", name="f", arguments="{}"), Finished(reason="stop")):
        answer.take(event)
    answer.end()
    assert answer.final is not None
    assert [item["id"] for item in answer.final["output"]] == ["rs_abc_0", "msg_abc_1", "fc_abc_2"]


def test_when_it_was_completed_is_told_by_the_time_since_the_request_came() -> None:
    answer = an_answer()
    answer.take(Finished(reason="stop"))
    (*_, last) = answer.end()
    assert (last["response"]["created_at"], last["response"]["completed_at"]) == (100, 102)

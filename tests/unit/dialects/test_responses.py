"""Translation and dialect put the parts together; what is kept is what the client was told."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.dialects.chat_engine import STOP, chunk, whole
from tests.unit.dialects.responses_checker import check_response, checked
from tests.unit.dialects.responses_scene import OPENAI, a_mint, asked, translated

from cortex.contract.error import CortexError, UpstreamBroken
from cortex.dialects.engine import traits_of
from cortex.dialects.responses import RESPONSES, ResponsesTranslation

if TYPE_CHECKING:
    from cortex.dialects.interface import Dialect, Keep, Translation


def kept_of(translation: ResponsesTranslation, error: CortexError | None = None) -> dict[str, Any]:
    kept = translation.keep(error)
    assert kept is not None
    assert kept.id == translation.id
    found: dict[str, Any] = json.loads(kept.record)
    return found


def test_it_is_a_dialect_and_its_requests_are_translations() -> None:
    dialect: Dialect = RESPONSES
    assert dialect.translate is not None
    translation: Translation = dialect.translate(asked(stream=True, max_output_tokens=5), a_mint())
    assert (translation.model, translation.is_stream, translation.max_tokens) == ("m", True, 5)
    assert (dialect.name, dialect.stream_type) == ("responses", b"text/event-stream")


def test_a_sign_of_life_is_a_comment_of_one_line() -> None:
    assert RESPONSES.heartbeat("loading\non beast", "m") == b": loading on beast\n\n"


def test_errors_are_those_of_the_dialect() -> None:
    error = UpstreamBroken("gone")
    assert json.loads(RESPONSES.error_body(error, 502, "req-1"))["error"]["message"] == "gone"


def test_a_beginning_that_an_engine_says_again_is_not_said_twice() -> None:
    translation = translated(input=[{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "It is"}])
    translation.body(traits_of("llamacpp"), "m", None)
    response = json.loads(translation.reply(whole(content="It is 4.")))
    assert response["output"][0]["content"][0]["text"] == " 4."


def test_what_is_kept_is_what_the_client_was_told_and_what_it_said() -> None:
    translation = translated()
    translation.body(OPENAI, "m", None)
    told = json.loads(translation.reply(whole(content="ho")))
    translation.forget()
    kept = kept_of(translation)
    assert kept["response"] == told
    assert kept["input"][0]["content"] == [{"type": "input_text", "text": "hi"}]


def test_a_streamed_answer_is_kept_as_its_last_event_has_it() -> None:
    translation = translated(stream=True)
    writer = translation.writer()
    out = writer.feed(chunk(content="a")) + writer.feed(STOP) + writer.end()
    assert kept_of(translation)["response"] == checked(out)


def test_a_stream_that_failed_is_kept_as_failed() -> None:
    translation = translated(stream=True)
    error = UpstreamBroken("gone")
    translation.writer().fail(error, 502)
    assert kept_of(translation, error)["response"]["status"] == "failed"


def test_nothing_is_kept_where_the_client_wants_nothing_kept() -> None:
    translation = translated(store=False)
    translation.reply(whole(content="ho"))
    assert translation.keep(None) is None


def test_nothing_is_kept_of_a_request_without_an_end() -> None:
    translation = translated(stream=True)
    assert translation.keep(None) is None
    translation.writer().feed(chunk(content="a"))
    assert translation.keep(UpstreamBroken("gone")) is None


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_request_in_the_background_is_told_of_and_kept_until_it_has_an_end(status: Any) -> None:
    translation = translated(background=True)
    assert translation.is_background
    told = check_response(json.loads(translation.waiting_body(status)))
    assert (told["status"], told["background"], told["output"]) == (status, True, [])
    kept: Keep = translation.waiting_keep(status)
    assert (kept.id, json.loads(kept.record)["response"]) == (told["id"], told)
    translation.reply(whole(content="ho"))
    assert kept_of(translation)["response"]["status"] == "completed"


def test_a_request_in_the_background_that_has_no_answer_is_kept_as_failed() -> None:
    translation = translated(background=True)
    response = check_response(kept_of(translation, UpstreamBroken("gone"))["response"])
    assert (response["status"], response["error"]["message"]) == ("failed", "gone")

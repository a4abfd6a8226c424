"""One line per request, soon, in one write; without a word of what was said."""

import io
import json
import logging
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.data.rig import FakeLoop
from tests.unit.gateway.data.test_metric import a_record

from cortex.gateway.data.access_log import FLUSH_S, MAX_HELD, AccessLog
from cortex.gateway.data.record import RequestRecord
from cortex.kit.log import LogFormat

STARTED_S = 1_800_000_000.5


class Stream(io.StringIO):
    """Counts writes; may break."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.writes = 0
        self.failure = failure

    def write(self, text: str) -> int:
        self.writes += 1
        if self.failure is not None:
            raise self.failure
        return super().write(text)


class Desk:
    def __init__(self, fmt: LogFormat = "plain", failure: Exception | None = None) -> None:
        self.loop = FakeLoop()
        self.stream = Stream(failure)
        self.log = AccessLog(self.loop, fmt, self.stream)  # type: ignore[arg-type]


def line(fmt: LogFormat = "plain", **keys: Any) -> str:
    desk = Desk(fmt)
    desk.log.record(a_record(started_s=STARTED_S, **keys))
    desk.log.flush()
    text = desk.stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text[:-1]


def test_a_plain_line_has_everything_for_people() -> None:
    assert line() == (
        "2027-01-15T08:00:00.500Z INFO    access: chat 200 ok model=org/m node=beast ms=650.0 ttft_ms=150.0"
        " tokens=10+20 peer=10.0.0.9 id=r"
    )


def test_what_there_is_not_is_left_out_or_a_dash() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("prompt_tokens", "completion_tokens", "time_to_first_token_ms"))
    words = line(model="", node="", peer="", status=503, outcome="refused", error="no_healthy_node", **nothing)
    assert words.endswith("access: chat 503 refused model=- node=- ms=650.0 error=no_healthy_node peer=local id=r")


def test_a_cold_start_is_marked() -> None:
    assert " cold " in line(cold_start=True)
    assert " cold" not in line()


@pytest.mark.parametrize(
    ("prompt", "completion", "shown"), [(5, None, " tokens=5+- "), (None, 5, " tokens=-+5 "), (0, 0, " tokens=0+0 ")]
)
def test_token_counts_are_shown_as_far_as_they_are_known(
    prompt: int | None, completion: int | None, shown: str
) -> None:
    assert shown in line(prompt_tokens=prompt, completion_tokens=completion)


def test_a_request_that_failed_is_an_error() -> None:
    failed: dict[str, Any] = {"outcome": "failed", "status": 502, "error": "upstream_broken"}
    assert " ERROR   access: chat 502 failed" in line(**failed)
    assert json.loads(line("json", **failed))["level"] == "error"
    assert " INFO    access: chat 404 refused" in line(outcome="refused", status=404, error="model_not_found")


def test_where_no_more_is_wanted_only_failures_are_written() -> None:
    stream = Stream()
    log = AccessLog(FakeLoop(), "plain", stream, has_only_failures=True)  # type: ignore[arg-type]
    log.record(a_record())
    log.record(a_record(outcome="failed", request_id="f"))
    log.flush()
    assert [text.rpartition("=")[2] for text in stream.getvalue().splitlines()] == ["f"]


def test_nobody_forges_a_line() -> None:
    assert r"model=a\nb\x1b" in line(model="a\nb\x1b")
    assert json.loads(line("json", model="a\nb"))["model"] == "a\nb"


def test_a_json_line_has_every_field_of_the_record() -> None:
    found = json.loads(line("json"))
    assert found.pop("time") == "2027-01-15T08:00:00.500Z"
    assert (found.pop("level"), found.pop("logger"), found.pop("message")) == ("info", "cortex.access", "request")
    assert found == json.loads(msgspec.json.encode(a_record(started_s=STARTED_S)))
    assert set(found) == {field.name for field in msgspec.structs.fields(RequestRecord)}


@pytest.mark.parametrize("fmt", ["plain", "json"])
def test_lines_are_written_together_after_a_while(fmt: LogFormat) -> None:
    desk = Desk(fmt)
    for _ in range(3):
        desk.log.record(a_record())
    assert desk.stream.writes == 0
    desk.loop.advance(FLUSH_S)
    assert desk.stream.writes == 1
    assert desk.stream.getvalue().count("\n") == 3
    desk.log.record(a_record())
    desk.loop.advance(FLUSH_S)
    assert desk.stream.getvalue().count("\n") == 4


def test_many_lines_are_written_at_once() -> None:
    desk = Desk()
    for _ in range(MAX_HELD):
        desk.log.record(a_record())
    assert desk.stream.getvalue().count("\n") == MAX_HELD
    assert desk.loop.live() == []


def test_a_flush_writes_what_is_held_and_leaves_no_timer() -> None:
    desk = Desk()
    desk.log.record(a_record())
    desk.log.flush()
    desk.log.flush()
    assert desk.stream.writes == 1
    assert desk.loop.live() == []


@pytest.mark.parametrize("failure", [OSError("no space left"), ValueError("I/O operation on closed file")])
def test_lines_that_cannot_be_written_are_counted_and_requests_go_on(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(failure=failure)
    desk.log.record(a_record())
    desk.log.record(a_record())
    with caplog.at_level(logging.WARNING, "cortex.gateway.data.access_log"):
        desk.loop.advance(FLUSH_S)
    assert f"2 lines of the access log are lost: {failure}" in caplog.text
    desk.stream.failure = None
    desk.log.record(a_record())
    desk.loop.advance(FLUSH_S)
    assert desk.stream.getvalue().count("\n") == 1


def test_without_a_stream_it_is_stderr_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    log = AccessLog(FakeLoop(), "plain")  # type: ignore[arg-type]
    log.record(a_record())
    log.flush()
    assert "model=org/m" in capsys.readouterr().err


@pytest.mark.parametrize("fmt", ["plain", "json"])
@pytest.mark.parametrize(
    "model",
    ["m node=evil", 'm" node=evil', "m\n2027-01-15T08:00:00.500Z INFO    access: forged", "m\x1b[2J", "m\x9b2J\u202e"],
)
def test_a_model_that_a_caller_makes_up_forges_nothing(fmt: LogFormat, model: str) -> None:
    words = line(fmt, model=model)
    assert words.isprintable()
    if fmt == "json":
        assert json.loads(words)["model"] == model
    else:
        assert len(words.splitlines()) == 1
        assert " node=evil" not in words.replace(f'"{model}"', "").replace(r"m\" node=evil", "")


def test_a_line_names_its_trace_where_there_is_one() -> None:
    assert " trace_id=abc " in line(trace_id="abc")
    assert "trace_id" not in line()
    assert json.loads(line("json", trace_id="abc"))["trace_id"] == "abc"


@pytest.mark.parametrize(("outcome", "mark"), [("ok", "<6>"), ("failed", "<3>")])
def test_the_journal_is_told_how_bad_a_request_was(outcome: str, mark: str) -> None:
    stream = Stream()
    log = AccessLog(FakeLoop(), "plain", stream, has_priority=True)  # type: ignore[arg-type]
    log.record(a_record(outcome=outcome))
    log.flush()
    assert stream.getvalue().startswith(f"{mark}1970-01-01")


PROMPT = b'{"model":"m","messages":[{"role":"user","content":"Say \\"hi\\"\\n2027 forged"}]}'


def test_a_prompt_is_a_line_of_its_own() -> None:
    for fmt, words in (
        ("plain", '2027-01-15T08:00:00.500Z INFO    access: prompt id=r text="user: Say \\"hi\\"\\\\n2027 forged"\n'),
        (
            "json",
            '{"time":"2027-01-15T08:00:00.500Z","level":"info","logger":"cortex.access","message":"prompt",'
            '"request_id":"r","text":"user: Say \\"hi\\"\\n2027 forged"}\n',
        ),
    ):
        desk = Desk(fmt)  # type: ignore[arg-type]
        desk.log.note_prompt(STARTED_S, "r", PROMPT)
        desk.loop.advance(FLUSH_S)
        assert desk.stream.getvalue() == words

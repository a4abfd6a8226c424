"""A trace is read from lines of our own and from the gateway's access log alike."""

from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.gateway.data.access_log import AccessLog
from cortex.gateway.data.record import RequestRecord
from cortex.testing.replay_trace import USUAL_S, Arrival, arrivals, read_trace


def test_a_line_says_when_a_request_came_and_what_it_took() -> None:
    line = b'{"at_s": 3.5, "model": "m", "caller": "a", "prompt_tokens": 10, "completion_tokens": 5, "duration_s": 2.0}'
    assert arrivals([line], "t") == (Arrival(at_s=0.0, model="m", caller="a", tokens=15, duration_s=2.0),)


def test_arrivals_are_in_order_and_the_first_is_at_zero() -> None:
    read = arrivals([b'{"at_s": 9, "model": "b", "duration_s": 1}', b'{"at_s": 7, "model": "a", "duration_s": 1}'], "t")
    assert [(one.at_s, one.model) for one in read] == [(0.0, "a"), (2.0, "b")]


def test_what_a_line_does_not_say_is_the_median_of_its_model() -> None:
    lines = [b'{"at_s": %d, "model": "m", "duration_s": %d}' % (n, n) for n in (1, 2, 9)]
    read = arrivals([*lines, b'{"at_s": 10, "model": "m"}', b'{"at_s": 11, "model": "other"}'], "t")
    assert [one.duration_s for one in read[-2:]] == [2.0, USUAL_S]


@pytest.mark.parametrize("line", [b"[]", b"{", b'{"at_s": 1}', b'{"model": "m"}', b'{"at_s": "x", "model": "m"}'])
def test_another_line_is_named_by_its_number(line: bytes) -> None:
    with pytest.raises(ConfigError, match=r"trace\.jsonl, line 2: "):
        arrivals([b"", line], "trace.jsonl")


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ('"duration_s": -1', "duration_s: expected a number >= 0"),
        ('"prompt_tokens": -1', "prompt_tokens: expected a whole number >= 0"),
        ('"completion_tokens": 1.5', "completion_tokens: expected a whole number"),
        ('"at_s": -4', "at_s: expected a number >= 0"),
        ('"model": ""', "model: expected a string"),
        ('"durations": 1', "durations: unknown key; did you mean 'duration_s'?"),
        ('"started_s": 1', "started_s: unknown key"),
    ],
)
def test_a_member_that_cannot_be_is_named_with_its_line(member: str, words: str) -> None:
    line = f'{{"at_s": 1, "model": "m", {member}}}'.encode()
    with pytest.raises(ConfigError) as refused:
        arrivals([b'{"at_s": 0, "model": "m"}', line], "trace.jsonl")
    assert f"trace.jsonl, line 2: {words}" in refused.value.message


@pytest.mark.parametrize("lines", [[], [b""], [b'{"logger":"cortex.gateway","message":"ready"}']])
def test_a_trace_without_a_request_is_none(lines: list[bytes]) -> None:
    with pytest.raises(ConfigError, match=r"trace\.jsonl: no request in it"):
        arrivals(lines, "trace.jsonl")


def test_times_that_cannot_be_of_one_trace_are_named_with_their_lines() -> None:
    """Milliseconds, or a line of our own among those of a log."""
    lines = [b'{"at_s": 1795687607.9, "model": "m"}', b'{"at_s": 9, "model": "m"}', b'{"at_s": 0, "model": "m"}']
    with pytest.raises(ConfigError, match="20783 days from line 3 to line 1, and 366 are the most: times are in sec"):
        arrivals(lines, "trace.jsonl")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_trace(tmp_path / "none")


def a_record(**changes: object) -> RequestRecord:
    fields: dict[str, object] = {
        "request_id": "r", "path": "/v1/chat/completions", "model": "m", "node": "n", "status": 200, "outcome": "ok",
        "is_stream": True, "attempts": 1, "cold_start": False, "prompt_tokens": 7, "completion_tokens": 20,
        "total_tokens": 27, "tok_per_sec": 10.0, "time_to_first_token_ms": 500.0, "total_latency_ms": 2500.0,
        "error": None, "peer": "10.0.0.9", "started_s": 1000.0,
    }  # fmt: skip
    return RequestRecord(**fields | changes)  # type: ignore[arg-type]


class Logged:
    """What an access log writes."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """Nothing is held back."""


def logged(*records: RequestRecord) -> list[bytes]:
    """Return the lines that the gateway's own access log writes of these."""
    import asyncio

    stream = Logged()
    loop = asyncio.new_event_loop()
    try:
        log = AccessLog(loop, "json", stream)  # type: ignore[arg-type]
        for record in records:
            log.record(record)
        log.flush()
    finally:
        loop.close()
    return stream.text.encode().splitlines()


def test_the_access_log_is_a_trace() -> None:
    (read,) = arrivals(logged(a_record()), "log")
    assert read == Arrival(at_s=0.0, model="m", caller="10.0.0.9", tokens=27, duration_s=2.5)


def test_the_wait_for_a_cold_model_is_no_work() -> None:
    (read,) = arrivals(logged(a_record(cold_start=True, total_latency_ms=42_000.0)), "log")
    assert read.duration_s == 2.0, "20 tokens at 10 per second"


def test_a_refused_request_came_all_the_same() -> None:
    lines = logged(a_record(), a_record(outcome="refused", started_s=1004.0, total_latency_ms=1.0))
    assert [(one.at_s, one.duration_s) for one in arrivals(lines, "log")] == [(0.0, 2.5), (4.0, 2.5)]


def test_other_lines_of_a_log_are_passed_over() -> None:
    other = b'{"time":"t","level":"info","logger":"cortex.gateway","message":"ready"}'
    nameless = b'{"logger":"cortex.access","model":"","started_s":5.0}'
    assert len(arrivals([other, nameless, *logged(a_record())], "log")) == 1

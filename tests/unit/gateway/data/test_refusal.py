"""A refusal is answered and put on record in one go, with the time after which another try makes sense."""

import pytest
from tests.unit.gateway.data.rig import EPOCH_S, START_S, rig

from cortex.contract import error as e
from cortex.gateway.data.refusal import refuse, request_id_of, retry_lines
from cortex.gateway.data.route import INFERENCE
from cortex.gateway.edge_error import RETRY_AFTER_S

CHAT = INFERENCE[b"/v1/chat/completions"]


def test_a_refusal_is_answered_and_recorded() -> None:
    with rig() as it:
        it.loop.advance(3)
        client = it.request(b"POST", CHAT.path, (b"x-request-id", b"mine"))
        client.exchange.is_received = True
        refuse(it.plane, client.exchange, CHAT, e.CapacityError("full"), START_S + 1)
        answer = client.answer
        assert (answer.status, answer.is_whole, answer.error["message"]) == (503, True, "full")
        assert answer.headers["x-request-id"] == "mine"
        assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
        record = it.record
        assert (record.request_id, record.path, record.status, record.outcome) == ("mine", "chat", 503, "refused")
        assert (record.error, record.peer, record.attempts) == ("no_capacity", "10.0.0.9", 0)
        assert (record.total_latency_ms, record.started_s) == (2000, EPOCH_S + 1)
        assert (record.prompt_tokens, record.tok_per_sec, record.time_to_first_token_ms) == (None, None, None)


def test_the_callers_id_is_kept_if_it_can_be_passed_on() -> None:
    with rig() as it:
        fine = it.request(b"GET", b"/", (b"x-request-id", b"a-1")).exchange
        odd = it.request(b"GET", b"/", (b"x-request-id", b"a\tb")).exchange
        assert request_id_of(it.plane, fine) == b"a-1"
        assert request_id_of(it.plane, odd).startswith(b"req-")
        assert request_id_of(it.plane, odd) != request_id_of(it.plane, odd)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (e.MalformedRequest(), b"x-should-retry: false\r\n"),
        (e.ModelNotFound(), b"x-should-retry: false\r\n"),
        (e.CortexError(), b"x-should-retry: false\r\n"),
        (e.CapacityError(), b"retry-after: 2\r\nx-should-retry: true\r\n"),
        (e.UpstreamBroken(), b"retry-after: 2\r\nx-should-retry: true\r\n"),
        (e.LoadFailed(retry_in_s=31.4), b"retry-after: 32\r\nx-should-retry: true\r\n"),
        (e.LoadFailed(retry_in_s=5), b"retry-after: 5\r\nx-should-retry: true\r\n"),
        (e.LoadFailed(retry_in_s=0.0), b"retry-after: 1\r\nx-should-retry: true\r\n"),
        (e.LoadFailed(retry_in_s="soon"), b"retry-after: 2\r\nx-should-retry: true\r\n"),
    ],
)
def test_whether_and_when_to_ask_again_is_said(error: e.CortexError, line: bytes) -> None:
    assert retry_lines(error) == line

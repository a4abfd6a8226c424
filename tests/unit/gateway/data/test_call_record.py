"""What is put on record of a request: each value in its own field, though they are filled in by their order."""

import msgspec
import pytest
from tests.unit.gateway.data.rig import DONE, EPOCH_S, ROLE, rig, token, usage

from cortex.contract.key import Key

STREAMED = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'


def test_every_field_of_a_record_has_what_belongs_there() -> None:
    with rig() as it:
        it.leases.next(it.place("a"), it.place("b", "http://y:1"), is_cold=True)
        client = it.post(STREAMED, (b"x-request-id", b"r-1"))
        client.exchange.key = Key(id="key_1", name="alice", shown="sk-c")
        it.upstream.refuse()
        it.loop.advance(2)
        engine = it.upstream.accept()
        it.loop.advance(3)
        engine.stream(ROLE, token())
        it.loop.advance(4)
        engine.more(token(), token(), usage(11, 3))
        engine.more(DONE, end=True)
    assert msgspec.structs.asdict(it.record) == {
        "request_id": "r-1",
        "path": "chat",
        "model": "m",
        "node": "b",
        "status": 200,
        "outcome": "ok",
        "is_stream": True,
        "attempts": 2,
        "cold_start": True,
        "prompt_tokens": 11,
        "completion_tokens": 3,
        "total_tokens": 14,
        "tok_per_sec": 0.5,
        "time_to_first_token_ms": 5000.0,
        "total_latency_ms": 9000.0,
        "error": None,
        "peer": "10.0.0.9",
        "started_s": EPOCH_S,
        "lost": (("a", "upstream_unreachable"),),
        "key": "alice",
        "key_id": "key_1",
        "request_overhead_ms": None,
        "response_overhead_ms": 0.0,
        "request_bytes": len(STREAMED),
        "response_bytes": len(client.answer.body),
        "trace_id": "",
    }


@pytest.mark.parametrize("name", ["m", "alias-of-m"])
def test_a_client_that_leaves_while_it_waits_is_on_record_with_the_model_that_it_waited_for(name: str) -> None:
    with rig() as it:
        it.post(STREAMED.replace(b'"m"', b'"%b"' % name.encode())).leave()
    assert (it.record.outcome, it.record.model, it.record.node) == ("client_gone", "m", "")


def test_one_that_waits_when_the_gateway_stops_is_on_record_with_its_model() -> None:
    with rig() as it:
        client = it.post(STREAMED)
        client.exchange.handler.on_shutdown()
    assert (it.record.error, it.record.model, it.record.node) == ("shutting_down", "m", "")

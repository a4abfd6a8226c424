"""Heartbeats: they begin the answer, once, and look as the dialect has it."""

import pytest
from tests.unit.gateway.data.rig import Client

from cortex.dialects.openai import OPENAI
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.heartbeat import beat


@pytest.mark.parametrize("words", ["waiting for the model", "loading on bärlin, 40 %"])
def test_a_heartbeat_is_a_comment_in_a_stream_that_has_begun(words: str) -> None:
    client = Client()
    exchange = Exchange(client, b"POST", b"/", b"", [])  # type: ignore[arg-type]
    exchange.is_received = True
    beat(exchange, OPENAI, "m", b"id", words)
    beat(exchange, OPENAI, "m", b"id", words)
    assert (client.answer.status, client.answer.body) == (200, f": {words}\n\n".encode() * 2)
    assert client.answer.headers["x-request-id"] == "id"
    assert client.answer.events() == []

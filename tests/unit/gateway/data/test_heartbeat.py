"""Heartbeats: comments that readers of event streams pass over."""

import pytest
from tests.unit.gateway.data.rig import Client

from cortex.fleet.outlook import Outlook
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.heartbeat import beat


@pytest.mark.parametrize(
    ("outlook", "comment"),
    [
        (None, b": waiting for the model\n\n"),
        (Outlook(state="loading", node="beast", progress=0.4), b": loading on beast, 40 %\n\n"),
        (Outlook(state="loading", node="bärlin"), ": loading on bärlin\n\n".encode()),
    ],
)
def test_a_heartbeat_is_a_comment_in_a_stream_that_has_begun(outlook: Outlook | None, comment: bytes) -> None:
    client = Client()
    exchange = Exchange(client, b"POST", b"/", b"", [])  # type: ignore[arg-type]
    exchange.is_received = True
    beat(exchange, b"id", outlook)
    beat(exchange, b"id", outlook)
    assert (client.answer.status, client.answer.body) == (200, comment * 2)
    assert client.answer.headers["x-request-id"] == "id"
    assert client.answer.events() == []

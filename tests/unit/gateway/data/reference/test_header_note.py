"""The headers that are told of are those that are written."""

import pytest
from tests.unit.gateway.data.rig import Client

from cortex.contract.error import RateLimited, Unauthorized
from cortex.dialects.anthropic import ANTHROPIC
from cortex.dialects.openai import OPENAI
from cortex.fleet.quota_holding import Standing
from cortex.gateway.data import key_door, token_count
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.header import own_lines
from cortex.gateway.data.limit_header import rate_lines
from cortex.gateway.data.page import error_answer
from cortex.gateway.data.reference.header_note import ANSWERED, ASKED, limits_of

STANDING = Standing(limit=10, remaining=4, reset_s=1.5)


def names(lines: bytes) -> set[str]:
    return {line.partition(b":")[0].decode() for line in lines.splitlines()}


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic", "ollama"])
def test_how_limits_stand_is_told_as_it_is_written(dialect: str) -> None:
    assert names(rate_lines(dialect, (STANDING, STANDING), 0)) == set(limits_of(dialect))


def test_every_header_is_told_of() -> None:
    refusal = error_answer(Unauthorized(), ANTHROPIC, b"r").headers + error_answer(RateLimited(), OPENAI, b"r").headers
    written = names(refusal) | names(own_lines(ANTHROPIC, b"r")) | {"x-cortex-token-count"}
    limits = {*limits_of("openai"), *limits_of("anthropic")}
    assert written - {"content-type"} == set(ANSWERED) - limits
    assert "x-cortex-token-count" in (token_count.__doc__ or "")


@pytest.mark.parametrize("name", [name for name in ASKED if "key" in name or name == "authorization"])
def test_a_key_is_looked_for_where_it_is_said_to_be(name: str) -> None:
    value = b"Bearer s3cret" if name == "authorization" else b"s3cret"
    exchange = Exchange(Client("10.0.0.9"), b"GET", b"/", b"", [(name.encode(), value)])  # type: ignore[arg-type]
    assert list(key_door._shown(exchange)) == [b"s3cret"]

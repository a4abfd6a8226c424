"""What the document says becomes of the members of Anthropic's requests does become of them."""

from itertools import count
from typing import Any

import msgspec
import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import message_create_params as beta_params
from tests.unit.dialects.chat_engine import whole
from tests.unit.gateway.data.reference.effect import Said, as_read, cases, check_effect, read_but_ignored, unnamed

from cortex.dialects.anthropic import ANTHROPIC
from cortex.dialects.anthropic_request import read_count
from cortex.dialects.anthropic_wire import Wire
from cortex.dialects.engine import LLAMACPP
from cortex.dialects.interface import Mint
from cortex.gateway.data.reference.anthropic_member import COUNT_TOKENS, MESSAGES
from cortex.gateway.data.reference.member import Member

TOOL = {"name": "now", "input_schema": {"type": "object"}}
BASE: dict[str, Any] = {
    "model": "coder",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hi"}],
    "tools": [TOOL],
}
IN_HEADERS = {"betas"}
"""What the SDK sends as a header."""


def said(body: bytes) -> Said:
    numbers = count()
    translation = ANTHROPIC.translate(body, Mint(epoch_s=0, new_id=lambda prefix: f"{prefix}{next(numbers)}"))
    sent = msgspec.json.decode(translation.body(LLAMACPP, "coder", None))
    return sent, msgspec.json.decode(translation.reply(whole(content="Hello")))


def counted(body: bytes) -> Said:
    return msgspec.json.decode(read_count(body).body(LLAMACPP, "coder", None)), None


@pytest.mark.parametrize(("table", "name", "member"), cases(messages=MESSAGES, count=COUNT_TOKENS))
def test_a_member_does_what_is_said(table: str, name: str, member: Member) -> None:
    check_effect(member, name, BASE, said if table == "messages" else counted)


def test_every_member_that_is_read_is_there_and_none_of_those_is_said_to_be_ignored() -> None:
    fields = Wire.__struct_fields__
    assert unnamed(MESSAGES, fields) == set()
    assert read_but_ignored(MESSAGES, fields) == set()
    others = {name for name, member in MESSAGES.items() if name not in fields}
    assert {name for name in others if MESSAGES[name].effect != "ignored"} == set()


def test_what_is_not_counted_is_what_the_struct_reads_and_the_counting_leaves_out() -> None:
    assert read_but_ignored(COUNT_TOKENS, Wire.__struct_fields__) == {"max_tokens", "stream"}
    assert [name for name, member in COUNT_TOKENS.items() if member.is_required] == ["model", "messages"]


def test_every_member_that_anthropics_sdk_knows_is_there() -> None:
    as_read("anthropic", "2.14.0")
    known = {
        *message_create_params.MessageCreateParamsBase.__annotations__,
        *beta_params.MessageCreateParamsBase.__annotations__,
    }
    assert unnamed(MESSAGES, known - IN_HEADERS) == set()
    assert unnamed(COUNT_TOKENS, message_count_tokens_params.MessageCountTokensParams.__annotations__) == set()

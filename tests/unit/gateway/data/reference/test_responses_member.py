"""What the document says becomes of the members of Responses does become of them."""

from itertools import count
from typing import Any

import msgspec
import pytest
from openai.types.responses import response_create_params
from tests.unit.dialects.chat_engine import whole
from tests.unit.gateway.data.reference.effect import Said, as_read, cases, check_effect, read_but_ignored, unnamed

from cortex.dialects.engine import LLAMACPP
from cortex.dialects.interface import Mint, Need
from cortex.dialects.responses import ResponsesTranslation
from cortex.dialects.responses_wire import ENCRYPTED_REASONING, Wire
from cortex.gateway.data.reference.member import Member
from cortex.gateway.data.reference.responses_member import RESPONSES

TOOL = {"type": "function", "name": "now", "parameters": {"type": "object"}}
BASE: dict[str, Any] = {"model": "coder", "input": "Hi", "tools": [TOOL]}

DONE = {"background", "include", "previous_response_id", "store"}


def translated(body: bytes) -> ResponsesTranslation:
    numbers = count()
    return ResponsesTranslation(body, Mint(epoch_s=0, new_id=lambda prefix: f"{prefix}{next(numbers)}"))


def said(body: bytes) -> Said:
    translation = translated(body)
    sent = msgspec.json.decode(translation.body(LLAMACPP, "coder", None))
    return sent, msgspec.json.decode(translation.reply(whole(content="Hello", reasoning_content="Hm")))


@pytest.mark.parametrize(("table", "name", "member"), cases(responses=RESPONSES))
def test_a_member_does_what_is_said(table: str, name: str, member: Member) -> None:
    if member.effect == "done":
        assert name in DONE
        return
    check_effect(member, name, BASE, said)


def with_member(name: str) -> ResponsesTranslation:
    return translated(msgspec.json.encode({**BASE, name: RESPONSES[name].example}))


def test_what_the_gateway_does_itself_it_does() -> None:
    assert {name for name, member in RESPONSES.items() if member.effect == "done"} == DONE
    assert with_member("background").is_background
    assert with_member("previous_response_id").needs == (Need(kind="response", ref="resp_000000000000000000000001"),)
    unkept = with_member("store")
    unkept.body(LLAMACPP, "coder", None)
    unkept.reply(whole(content="Hello"))
    assert unkept.keep(None) is None
    assert RESPONSES["include"].example == [ENCRYPTED_REASONING]
    _, answer = said(msgspec.json.encode({**BASE, "include": RESPONSES["include"].example}))
    assert answer["output"][0]["encrypted_content"]


def test_every_member_that_is_read_is_there_and_none_of_those_is_said_to_be_ignored() -> None:
    fields = Wire.__struct_fields__
    assert unnamed(RESPONSES, fields) == set()
    assert read_but_ignored(RESPONSES, fields) == set()
    assert {name for name in set(RESPONSES) - set(fields) if RESPONSES[name].effect != "ignored"} == set()


def test_every_member_that_openais_sdk_knows_is_there() -> None:
    as_read("openai", "3.57.0")
    assert unnamed(RESPONSES, response_create_params.ResponseCreateParamsBase.__annotations__) == set()

"""What the document says becomes of the members of Ollama's requests does become of them."""

from itertools import count
from typing import Any

import msgspec
import ollama._types as client
import pytest
from tests.unit.dialects.chat_engine import whole
from tests.unit.gateway.data.reference.effect import Said, as_read, cases, check_effect, read_but_ignored, unnamed

from cortex.dialects import ollama_wire as wire
from cortex.dialects.engine import LLAMACPP
from cortex.dialects.interface import Dialect, Mint
from cortex.dialects.ollama import OLLAMA_CHAT, OLLAMA_GENERATE
from cortex.dialects.ollama_embed import OLLAMA_EMBED, OLLAMA_EMBEDDINGS
from cortex.dialects.ollama_page import shown_name
from cortex.gateway.data.reference import ollama_member as table
from cortex.gateway.data.reference.member import Member, Members

TABLES: dict[str, Members] = {
    "chat": table.CHAT,
    "generate": table.GENERATE,
    "embed": table.EMBED,
    "embeddings": table.EMBEDDINGS,
}
DIALECTS: dict[str, Dialect] = {
    "chat": OLLAMA_CHAT,
    "generate": OLLAMA_GENERATE,
    "embed": OLLAMA_EMBED,
    "embeddings": OLLAMA_EMBEDDINGS,
}
BASES: dict[str, dict[str, Any]] = {
    "chat": {"model": "coder", "messages": [{"role": "user", "content": "Hi"}]},
    "generate": {"model": "coder", "prompt": "Hi"},
    "embed": {"model": "coder", "input": "Hi"},
    "embeddings": {"model": "coder", "prompt": "Hi"},
}
WIRES = {
    "chat": wire.ChatAsked,
    "generate": wire.GenerateAsked,
    "embed": wire.EmbedAsked,
    "embeddings": wire.EmbedAsked,
}
READ_FOR_ANOTHER = {"chat": {"keep_alive"}, "generate": {"keep_alive"}, "embed": {"prompt"}, "embeddings": {"input"}}
"""Members of the structs that have no effect on what these tests ask."""

CLIENTS = {
    "chat": client.ChatRequest,
    "generate": client.GenerateRequest,
    "embed": client.EmbedRequest,
    "embeddings": client.EmbeddingsRequest,
}
VECTORS = b'{"data":[{"embedding":[0.5],"index":0}]}'


def said(name: str, body: bytes) -> Said:
    numbers, translate = count(), DIALECTS[name].translate
    assert translate is not None
    translation = translate(body, Mint(epoch_s=0, new_id=lambda prefix: f"{prefix}{next(numbers)}"))
    sent = msgspec.json.decode(translation.body(LLAMACPP, "coder", None))
    several = isinstance(sent.get("input"), list) and len(sent["input"]) > 1
    answer = None if several else translation.reply(VECTORS if "embed" in name else whole(content="Hello"))
    return sent, answer


@pytest.mark.parametrize(("name", "member_name", "member"), cases(**TABLES))
def test_a_member_does_what_is_said(name: str, member_name: str, member: Member) -> None:
    check_effect(member, member_name, BASES[name], lambda body: said(name, body))


@pytest.mark.parametrize(("name", "option", "member"), cases(options=table.OPTIONS))
def test_an_option_does_what_is_said(name: str, option: str, member: Member) -> None:
    def say(options: bytes) -> Said:
        return said("chat", msgspec.json.encode({**BASES["chat"], "options": msgspec.Raw(options)}))

    check_effect(member, option, {}, say)


@pytest.mark.parametrize("name", TABLES)
def test_every_member_that_is_read_is_there(name: str) -> None:
    fields = WIRES[name].__struct_fields__
    assert unnamed(TABLES[name], fields) == set()
    assert read_but_ignored(TABLES[name], fields) == READ_FOR_ANOTHER[name]
    assert unnamed(table.OPTIONS, wire.Options.__struct_fields__) == set()
    assert read_but_ignored(table.OPTIONS, wire.Options.__struct_fields__) == set()
    assert set(table.SHOW) == set(wire.ShowAsked.__struct_fields__)


def test_a_model_is_shown_by_either_name() -> None:
    for name in table.SHOW:
        assert shown_name(msgspec.json.encode({name: "coder"})) == "coder"


@pytest.mark.parametrize("name", TABLES)
def test_every_member_that_ollamas_client_knows_is_there(name: str) -> None:
    as_read("ollama", "0.6.3")
    assert unnamed(TABLES[name], CLIENTS[name].model_fields) == set()
    assert unnamed(table.OPTIONS, client.Options.model_fields) == set()

"""The dialect as the data plane sees it, and as Ollama's own Python client does."""

import json
from itertools import pairwise

import pytest
from tests.unit.dialects.ollama_case import PNG, a_mint, chat, generate, sent
from tests.unit.dialects.stream import FINISH, delta, text, usage_only

from cortex.contract.error import CortexError, ModelNotFound, QueueFull
from cortex.dialects.engine import GENERIC
from cortex.dialects.interface import Dialect
from cortex.dialects.ollama import OLLAMA_CHAT, OLLAMA_GENERATE
from cortex.dialects.ollama_embed import OLLAMA_EMBED


@pytest.mark.parametrize("dialect", [OLLAMA_CHAT, OLLAMA_GENERATE], ids=["chat", "generate"])
def test_errors_are_one_member_in_a_body(dialect: Dialect) -> None:
    error = ModelNotFound("No model named 'x' is known.", model="x")
    assert dialect.error_body(error, 404, "r") == b"""{"error":"No model named 'x' is known."}"""
    assert dialect.stream_type == b"application/x-ndjson"


@pytest.mark.parametrize("dialect", [OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_EMBED], ids=["chat", "generate", "embed"])
def test_a_model_may_be_known_without_the_tag_that_clients_add(dialect: Dialect) -> None:
    assert dialect.names("qwen:latest") == ("qwen:latest", "qwen")
    assert dialect.names("qwen") == ("qwen",)


@pytest.mark.parametrize(
    ("dialect", "empty"),
    [(OLLAMA_CHAT, {"message": {"role": "assistant", "content": ""}}), (OLLAMA_GENERATE, {"response": ""})],
    ids=["chat", "generate"],
)
def test_a_sign_of_life_is_a_piece_with_nothing_in_it(dialect: Dialect, empty: dict[str, object]) -> None:
    beat = dialect.heartbeat("loading on beast,\n40 %", "m")
    assert beat.count(b"\n") == 1
    assert json.loads(beat) == {"model": "m", **empty, "done": False, "status": "loading on beast,\n40 %"}


def test_each_attempt_has_a_writer_of_its_own() -> None:
    translation = chat()
    first, second = translation.writer(), translation.writer()
    first.feed(text(b"from the first"))
    first.feed(FINISH)
    assert first.is_complete
    assert not second.is_complete
    assert second.end() == b""
    assert b"first" not in second.feed(text(b"other"))


def test_what_was_let_go_of_cannot_be_sent_but_can_be_answered() -> None:
    translation = chat(stream=False)
    sent(translation)
    translation.forget()
    assert translation.reply(b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}')
    with pytest.raises(CortexError):
        translation.body(GENERIC, "m", None)


def test_nothing_is_needed_and_nothing_is_kept() -> None:
    assert chat().needs == ()
    assert generate().keep(None) is None


def test_a_conversation_has_the_same_beginning_on_every_turn() -> None:
    first = [{"role": "user", "content": "Weather?", "images": [PNG]}]
    call = {"function": {"name": "weather", "arguments": {"at": "Ulm"}}}
    then = [*first, {"role": "assistant", "content": "", "tool_calls": [call]}]
    then += [{"role": "tool", "content": "22", "tool_name": "weather"}]
    last = [*then, {"role": "assistant", "content": "22"}, {"role": "user", "content": "Thanks."}]
    bodies = [sent(chat(messages=messages))["messages"] for messages in (first, then, last)]
    for shorter, longer in pairwise(bodies):
        assert isinstance(shorter, list)
        assert isinstance(longer, list)
        assert longer[: len(shorter)] == shorter


def test_ollamas_own_client_understands_what_it_is_told() -> None:
    ollama = pytest.importorskip("ollama", reason="Ollama's Python client is not installed: pip install ollama")
    call = delta(b'"tool_calls":[{"index":0,"id":"c","function":{"name":"weather","arguments":"{\\"at\\": 1}"}}]')
    writer = chat(a_mint(iter(float(second) for second in range(9)))).writer()
    out = b"".join(writer.feed(payload) for payload in (text(b"Hi"), call, FINISH, usage_only())) + writer.end()
    parts = [ollama.ChatResponse(**json.loads(line)) for line in out.splitlines()]
    assert [part.done for part in parts] == [False, False, True]
    assert parts[0].message.content == "Hi"
    assert parts[1].message.tool_calls[0].function.arguments == {"at": 1}
    assert (parts[2].done_reason, parts[2].eval_count, parts[2].prompt_eval_count) == ("stop", 2, 3)
    assert parts[2].eval_duration > 0


def test_the_queue_being_full_is_said_in_words() -> None:
    assert json.loads(OLLAMA_CHAT.error_body(QueueFull(), 503, "r")) == {"error": QueueFull().message}

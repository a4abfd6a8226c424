"""Ollama's two ways to ask for embeddings, as engines take and answer them."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dialects.ollama_case import a_mint

from cortex.contract.error import (
    CallerError,
    CapacityError,
    ContextExceeded,
    CortexError,
    EngineFailed,
    EngineRefused,
    MalformedRequest,
    ModelMissing,
    UpstreamBroken,
    UpstreamError,
)
from cortex.dialects.engine import GENERIC
from cortex.dialects.ollama_embed import OLLAMA_EMBED, OLLAMA_EMBEDDINGS, EmbedTranslation


def embed(**members: object) -> EmbedTranslation:
    return OLLAMA_EMBED.translate(json.dumps({"model": "m", **members}).encode(), a_mint())


def legacy(**members: object) -> EmbedTranslation:
    return OLLAMA_EMBEDDINGS.translate(json.dumps({"model": "m", **members}).encode(), a_mint())


def sent(translation: EmbedTranslation) -> object:
    return json.loads(translation.body(GENERIC, "engine-name", None))


def engine(*vectors: tuple[int | None, list[float]], **more: object) -> bytes:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in vectors]
    return json.dumps({"object": "list", "data": data, **more}).encode()


def test_texts_become_openais_input() -> None:
    assert sent(embed(input="a", truncate=True, options={"num_ctx": 1}, keep_alive=0)) == {
        "model": "engine-name",
        "input": ["a"],
    }
    assert sent(embed(input=["a", "b"], dimensions=64)) == {
        "model": "engine-name",
        "input": ["a", "b"],
        "dimensions": 64,
    }
    assert sent(legacy(prompt="a")) == {"model": "engine-name", "input": ["a"]}


def test_vectors_come_back_in_their_order_and_digit_for_digit() -> None:
    body = b'{"data":[{"index":1,"embedding":[0.10,2e-3]},{"index":0,"embedding":[-1]}],"usage":{"prompt_tokens":4}}'
    assert embed(input=["a", "b"]).reply(body) == b'{"model":"m","embeddings":[[-1],[0.10,2e-3]],"prompt_eval_count":4}'


def test_vectors_without_an_index_stay_in_the_order_in_which_they_came() -> None:
    answer = json.loads(embed(input=["a", "b"]).reply(engine((None, [2.0]), (None, [1.0]))))
    assert answer["embeddings"] == [[2.0], [1.0]]


def test_the_older_way_gets_a_single_vector() -> None:
    assert json.loads(legacy(prompt="a").reply(engine((0, [1.0, 2.0])))) == {"embedding": [1.0, 2.0]}


@pytest.mark.parametrize("members", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_nothing_to_embed_needs_no_engine(members: dict[str, object]) -> None:
    answer = embed(**members).answer
    assert answer is not None
    assert json.loads(answer) == {"model": "m", "embeddings": []}
    assert legacy().answer == b'{"embedding":[]}'
    assert embed(input="a").answer is None


@pytest.mark.parametrize("text", [7, [1, 2], [["a"]], {"a": 1}, [None]])
def test_what_is_no_text_is_refused(text: object) -> None:
    with pytest.raises(MalformedRequest, match=r"^input"):
        embed(input=text)


def test_a_request_without_a_model_is_refused() -> None:
    with pytest.raises(ModelMissing):
        embed(model=None, input="a")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        engine((0, [1.0])),
        b'{"data":[{"embedding":[1]},{"embedding":"AACAPw=="}]}',
        b'{"data":[{"embedding":[1]},{}]}',
        b'{"data":[{"embedding":[1]},{"embedding":[1]},{"embedding":[1]}]}',
    ],
)
def test_an_answer_that_does_not_fit_is_the_engines_fault(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        embed(input=["a", "b"]).reply(body)


def test_an_error_in_place_of_an_answer_is_read_as_one() -> None:
    with pytest.raises(EngineFailed, match="no luck"):
        embed(input="a").reply(b'{"error":{"message":"no luck"}}')
    with pytest.raises(ContextExceeded):
        embed(input="a").reply(b'{"error":"input is too large to process"}')


def test_it_is_never_streamed() -> None:
    translation = embed(input="a")
    assert not translation.is_stream
    assert translation.keep(None) is None
    with pytest.raises(CortexError):
        translation.writer()


def test_errors_are_said_as_ollama_does() -> None:
    error = CallerError("No.")
    assert OLLAMA_EMBED.error_body(error, 400, "r") == b'{"error":"No."}'
    assert OLLAMA_EMBED.heartbeat("loading", "m") == b""


NAMES = ["data", "embedding", "index", "usage", "error", "prompt_tokens"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(said=JSON)
def test_whatever_an_engine_answers_is_taken_or_an_error(said: object) -> None:
    with contextlib.suppress(UpstreamError, CapacityError, EngineRefused, ContextExceeded):
        assert json.loads(embed(input="a").reply(json.dumps(said).encode()))

"""What the document says is read of requests that engines take as they are is what is read, and no more."""

from typing import Any

import msgspec
import pytest
from openai.types import (
    completion_create_params,
    embedding_create_params,
    image_create_variation_params,
    image_edit_params,
    image_generate_params,
)
from openai.types.audio import speech_create_params, transcription_create_params, translation_create_params
from openai.types.chat import completion_create_params as chat_create_params
from tests.unit.gateway.data.reference.effect import as_read, unnamed

from cortex.dialects import openai_request
from cortex.dialects.openai_request import read_head
from cortex.gateway.data.reference.openai_member import BY_PATH
from cortex.gateway.data.route import INFERENCE

SDK: dict[str, Any] = {
    "/v1/chat/completions": chat_create_params.CompletionCreateParamsBase,
    "/v1/completions": completion_create_params.CompletionCreateParamsBase,
    "/v1/embeddings": embedding_create_params.EmbeddingCreateParams,
    "/v1/audio/speech": speech_create_params.SpeechCreateParams,
    "/v1/audio/transcriptions": transcription_create_params.TranscriptionCreateParamsBase,
    "/v1/audio/translations": translation_create_params.TranslationCreateParams,
    "/v1/images/generations": image_generate_params.ImageGenerateParamsBase,
    "/v1/images/edits": image_edit_params.ImageEditParamsBase,
    "/v1/images/variations": image_create_variation_params.ImageCreateVariationParams,
}
BASE = {"model": "coder", "stream": True, "max_tokens": 10}
SAMPLES = {"string": "x", "integer": 3, "number": 0.5, "boolean": True, "array": [], "object": {}}
IN_BODIES = [path for path in BY_PATH if not INFERENCE[path.encode()].is_upload]


def head_with(name: str, value: Any) -> Any:
    return read_head(msgspec.json.encode({**BASE, name: value}))


@pytest.mark.parametrize("path", IN_BODIES)
def test_what_is_said_to_be_read_is_read_and_what_is_said_to_be_passed_is_not(path: str) -> None:
    without = read_head(msgspec.json.encode(BASE))
    for name, member in BY_PATH[path].items():
        if member.effect == "read":
            value = False if name == "stream" else f"{member.example}-2" if name == "model" else member.example
            assert head_with(name, value) != without, name
        else:
            assert member.effect == "passed"
            schema = member.schema or {}
            kind = (schema["anyOf"][0] if "anyOf" in schema else schema).get("type", "string")
            assert head_with(name, SAMPLES[kind]) == without, name


def test_every_member_that_is_read_is_there() -> None:
    read = {name for path in IN_BODIES for name, member in BY_PATH[path].items() if member.effect == "read"}
    assert read == set(openai_request._Wire.__struct_fields__)


def test_of_forms_only_the_model_is_read() -> None:
    forms = set(BY_PATH) - set(IN_BODIES)
    assert forms == {path.decode() for path, route in INFERENCE.items() if route.is_upload}
    for path in forms:
        assert [name for name, member in BY_PATH[path].items() if member.effect == "read"] == ["model"]


def test_every_path_that_is_passed_on_has_its_table() -> None:
    assert set(BY_PATH) == {path.decode() for path, route in INFERENCE.items() if route.dialect.translate is None}


@pytest.mark.parametrize("path", SDK)
def test_every_member_that_openais_sdk_knows_is_there(path: str) -> None:
    as_read("openai", "3.57.0")
    assert unnamed(BY_PATH[path], SDK[path].__annotations__) == set()

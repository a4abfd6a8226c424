"""What a request for images may say, and what of it reaches the workflow."""

import json
from typing import Any

import pytest

from cortex.contract.error import MalformedRequest
from cortex.neuron.images.wish import LONGEST_PROMPT, MOST_IMAGES, Wish, read_wish
from cortex.neuron.images.workflow import Workflow, read_workflow

ALL = read_workflow(None)
BARE = read_workflow('{"1": {"class_type": "A", "inputs": {"x": "${PROMPT}"}}}')
SEEDED = read_workflow('{"1": {"class_type": "A", "inputs": {"x": "${PROMPT}", "y": "${SEED}"}}}')


def a_wish(template: Workflow = ALL, **said: Any) -> Wish:
    return read_wish(json.dumps({"prompt": "a cat", **said}).encode(), template)


@pytest.mark.parametrize(
    ("said", "values"),
    [
        ({}, {}),
        ({"size": "auto", "n": None, "quality": "hd", "user": "me"}, {}),
        ({"size": "64x4096"}, {"WIDTH": 64, "HEIGHT": 4096}),
        ({"size": "2048x2048"}, {"WIDTH": 2048, "HEIGHT": 2048}),
        ({"negative_prompt": ""}, {"NEGATIVE_PROMPT": ""}),
        ({"negative_prompt": "dogs", "size": "512x768"}, {"NEGATIVE_PROMPT": "dogs", "WIDTH": 512, "HEIGHT": 768}),
    ],
    ids=["nothing", "what only tunes", "long and small", "largest", "no negative prompt", "all"],
)
def test_what_is_said_becomes_values(said: dict[str, Any], values: dict[str, object]) -> None:
    assert a_wish(**said).values() == {"PROMPT": "a cat", **values}


def test_what_is_not_said_is_one_image() -> None:
    assert a_wish().count == 1
    assert a_wish(n=MOST_IMAGES).count == MOST_IMAGES


@pytest.mark.parametrize(
    ("said", "field", "why"),
    [
        ({"prompt": " \n"}, "prompt", "expected some text"),
        ({"prompt": "x" * (LONGEST_PROMPT + 1)}, "prompt", "at most 32000 characters, got 32001"),
        ({"negative_prompt": "x" * (LONGEST_PROMPT + 1)}, "negative_prompt", "at most 32000 characters"),
        ({"n": 0}, "n", "expected 1 to 10, got 0"),
        ({"n": 11}, "n", "expected 1 to 10, got 11"),
        ({"seed": -1}, "seed", "expected a whole number from 0"),
        ({"seed": 1 << 63}, "seed", "expected a whole number from 0"),
        ({"size": "big"}, "size", "expected <width>x<height>"),
        ({"size": ""}, "size", "expected <width>x<height>"),
        ({"size": "512"}, "size", "expected <width>x<height>"),
        ({"size": "512x512x512"}, "size", "expected <width>x<height>"),
        ({"size": "-64x64"}, "size", "expected <width>x<height>"),
        ({"size": "٦٤x64"}, "size", "expected <width>x<height>"),
        ({"size": "99999999999999999999x64"}, "size", "expected <width>x<height>"),
        ({"size": "100x100"}, "size", "multiples of 8 from 64 to 4096"),
        ({"size": "56x64"}, "size", "multiples of 8 from 64 to 4096"),
        ({"size": "4096x2048"}, "size", "at most 4194304 pixels"),
        ({"response_format": "png"}, "response_format", "expected b64_json or url, got png"),
        ({"output_format": "webp"}, "output_format", "images are png here, not webp"),
        ({"stream": True}, "stream", "not streamed"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(said: dict[str, Any], field: str, why: str) -> None:
    with pytest.raises(MalformedRequest, match=f"^{field}: .*{why}") as refusal:
        a_wish(**said)
    assert refusal.value.details == {"param": field}


@pytest.mark.parametrize(
    ("template", "said", "field"),
    [
        (BARE, {"size": "512x512"}, "size"),
        (BARE, {"negative_prompt": "dogs"}, "negative_prompt"),
        (BARE, {"seed": 1}, "seed"),
        (BARE, {"n": 2}, "n"),
    ],
)
def test_what_the_workflow_has_no_place_for_is_refused(template: Workflow, said: dict[str, Any], field: str) -> None:
    with pytest.raises(MalformedRequest, match="the workflow of this model") as refusal:
        a_wish(template, **said)
    assert refusal.value.details == {"param": field}


def test_a_workflow_without_batches_makes_several_images_by_their_seeds() -> None:
    assert a_wish(SEEDED, n=3, seed=5).count == 3


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"prompt": "\xff"}', "not JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `prompt`"),
        (b'{"prompt": 1}', r"Expected `str`, got `int` - at `\$.prompt`"),
        (b'{"prompt": "a", "n": "2"}', r"at `\$.n`"),
        (b'{"prompt": "a", "n": 1e99}', r"at `\$.n`"),
        (b'{"prompt": "a", "seed": 1' + b"0" * 5000 + b"}", r"at `\$.seed`"),
        (b'{"x": ' + b"[" * 200_000, "not JSON"),
    ],
    ids=["empty", "cut", "no utf-8", "a list", "no prompt", "number", "text", "large", "huge", "deep"],
)
def test_a_body_that_is_no_request_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(MalformedRequest, match=why):
        read_wish(body, ALL)

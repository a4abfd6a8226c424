"""What a request says, for the one log where it may stand: bounded, without pictures, and never a reason to fail."""

import msgspec
import pytest

from cortex.gateway.data.prompt_excerpt import MAX_CHARS, excerpt

PICTURE = "iVBORw0KGgo" * 100


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"messages": [{"role": "user", "content": "Hello"}]}, "user: Hello"),
        (
            {"system": "Be kind.", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
            "Be kind. user: Hi",
        ),
        ({"prompt": "Once"}, "Once"),
        ({"prompt": ["Once", "Twice"], "suffix": "end"}, "Once Twice end"),
        ({"instructions": "Be.", "input": "Hi"}, "Be. Hi"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}, "user: Hi"),
        ({"query": "which", "documents": ["a", {"text": "b"}]}, "which a b"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"x":1}'}}]}]},
            'assistant: {"x":1}',
        ),
        ({"model": "m", "metadata": {"user": "me"}}, ""),
    ],
)
def test_what_is_said_is_found_in_every_dialect(request_: object, said: str) -> None:
    assert excerpt(msgspec.json.encode(request_)) == said


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
        {"type": "image", "source": {"type": "base64", "data": PICTURE}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"},
        {"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}},
        {"type": "file", "file": {"file_data": PICTURE}},
        {"text": f"data:image/png;base64,{PICTURE}"},
        {"images": [PICTURE]},
    ],
)
def test_pictures_are_named_and_not_shown(part: dict[str, object]) -> None:
    said = excerpt(msgspec.json.encode({"messages": [{"role": "user", "content": [part]}]}))
    assert PICTURE[:20] not in said
    assert said.startswith("user: [")


def test_what_is_long_has_an_end() -> None:
    said = excerpt(msgspec.json.encode({"messages": [{"role": "user", "content": "x" * 100_000}] * 3}))
    assert len(said) == MAX_CHARS + 1
    assert said.endswith("…")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"7", b'"x"', b"\xff", b'{"messages":7}', b'{"messages":' + b"[" * 3000 + b"]" * 3000 + b"}"],
)
def test_what_cannot_be_read_is_nothing(body: bytes) -> None:
    assert excerpt(body) == ""

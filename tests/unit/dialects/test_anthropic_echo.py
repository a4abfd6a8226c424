"""A beginning of the answer that the caller gave is not answered again."""

import msgspec
import pytest
from tests.unit.dialects.claude import LLAMACPP, VLLM, asked, assistant, user

from cortex.dialects.anthropic import ANTHROPIC
from cortex.dialects.engine import EngineTraits
from cortex.dialects.interface import Mint


@pytest.mark.parametrize(
    ("traits", "content", "text"),
    [(LLAMACPP, "The answer is 4.", " 4."), (VLLM, " 4.", " 4."), (VLLM, "The answer is", "The answer is")],
)
def test_only_what_comes_after_it_is_the_answer(traits: EngineTraits, content: str, text: str) -> None:
    mint = Mint(epoch_s=0.0, new_id=lambda prefix: f"{prefix}1")
    request = ANTHROPIC.translate(asked(messages=[user("2+2?"), assistant("The answer is")]), mint)
    request.body(traits, "m", None)
    answer = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": content}}]}
    assert msgspec.json.decode(request.reply(msgspec.json.encode(answer)))["content"] == [
        {"type": "text", "text": text}
    ]

"""The sentences in which engines say that a request is too long, and those that only look like them."""

from typing import Any

import pytest

from cortex.dialects.engine_overflow import Overflow, find_overflow

COUNTED: dict[str, tuple[Any, ...]] = {
    "llama-server": (
        "request (5012 tokens) exceeds the available context size (4096 tokens), try increasing it",
        5012,
        4096,
    ),
    "llama-server, embeddings": (
        "input (1234 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
        1234,
        512,
    ),
    "mistral.rs": ("Prompt sequence length is greater than 2048, perhaps consider truncating.", None, 2048),
    "vLLM": (
        "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens "
        "(112946 in the messages, 10000 in the completion). Please reduce the length of the messages or completion.",
        112946,
        16384,
        10000,
    ),
    "vLLM, prompt alone": (
        "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens.",
        5000,
        4096,
    ),
    "vLLM, output asked for": (
        "You passed 3001 input tokens and requested 2000 output tokens. However, the model's context length is only "
        "4096 tokens, resulting in a maximum input length of 2096 tokens.",
        3001,
        4096,
        2000,
    ),
    "vLLM, max_tokens": (
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 "
        "tokens and your request has 12 input tokens (5000 > 4096 - 12).",
        12,
        4096,
        5000,
    ),
    "vLLM, not counted to its end": (
        "This model's maximum context length is 4096 tokens. However, you requested 4000 output tokens and your prompt "
        "contains at least 97 input tokens, for a total of at least 4097 tokens. Please reduce the length of the input "
        "prompt or the number of requested output tokens.",
        None,
        4096,
        4000,
    ),
    "vLLM, prompt alone, not counted to its end": (
        "This model's maximum context length is 4096 tokens. However, you requested 0 output tokens and your prompt "
        "contains at least 4097 input tokens, for a total of at least 4097 tokens.",
        4097,
        4096,
    ),
    "vLLM's engine": (
        "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
        9000,
        8192,
    ),
    "SGLang": ("The input (61709 tokens) is longer than the model's context length (40960 tokens).", 61709, 40960),
    "SGLang, total": (
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of "
        "5000 tokens: 4900 tokens from the input messages and 100 tokens for the completion.",
        4900,
        4096,
        100,
    ),
    "SGLang, pool": ("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).", 160062, 59862),
    "llama-cpp-python": ("Requested tokens (2285) exceed context window of 2048", 2285, 2048),
    "text-generation-inference": ("`inputs` must have less than 1000 tokens. Given: 1500", 1500, 1000),
    "text-generation-inference, total": (
        "`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 12 `inputs` tokens and 5000 `max_new_tokens`",
        12,
        2048,
        5000,
    ),
    "OpenAI": (
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 6164 tokens.",
        6164,
        4097,
    ),
    "Anthropic": ("prompt is too long: 210000 tokens > 200000 maximum", 210000, 200000),
}


@pytest.mark.parametrize("case", COUNTED.values(), ids=COUNTED.keys())
def test_an_engines_sentence_is_read_with_its_numbers(case: tuple[Any, ...]) -> None:
    words, tokens, context, *asked = case
    answer_tokens = asked[0] if asked else None
    assert find_overflow(words) == Overflow(prompt_tokens=tokens, context=context, answer_tokens=answer_tokens)


@pytest.mark.parametrize(
    "words",
    [
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        "context_length_exceeded",
        "Context size exceeded",
        "input is too large to process. increase the physical batch size",
        "Input length exceeds maximum context length",
    ],
)
def test_a_sentence_without_numbers_is_known_all_the_same(words: str) -> None:
    assert find_overflow(words) == Overflow()


@pytest.mark.parametrize(
    "words",
    [
        "",
        "'messages' is required",
        "max_tokens must be at least 1, got -186.",
        "CUDA error: out of memory",
        "The context is missing.",
        "Field 'context_length': unknown",
    ],
)
def test_other_words_are_not_taken_for_it(words: str) -> None:
    assert find_overflow(words) is None


def test_a_page_full_of_beginnings_is_read_in_no_time() -> None:
    assert find_overflow("input (1 tokens) is too large to process " * 100_000) == Overflow()

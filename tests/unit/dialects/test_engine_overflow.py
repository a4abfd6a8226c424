"""The sentences in which engines say that a request is too long, and those that only look like them."""

import pytest

from cortex.dialects.engine_overflow import Overflow, find_overflow

COUNTED = {
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
        122946,
        16384,
    ),
    "vLLM, prompt alone": (
        "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens.",
        5000,
        4096,
    ),
    "vLLM, output asked for": (
        "You passed 3001 input tokens and requested 2000 output tokens. However, the model's context length is only "
        "4096 tokens, resulting in a maximum input length of 2096 tokens.",
        5001,
        4096,
    ),
    "vLLM, max_tokens": (
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 "
        "tokens and your request has 12 input tokens (5000 > 4096 - 12).",
        5012,
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
        5000,
        4096,
    ),
    "SGLang, pool": ("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).", 160062, 59862),
    "llama-cpp-python": ("Requested tokens (2285) exceed context window of 2048", 2285, 2048),
    "text-generation-inference": ("`inputs` must have less than 1000 tokens. Given: 1500", 1500, 1000),
    "OpenAI": (
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 6164 tokens.",
        6164,
        4097,
    ),
    "Anthropic": ("prompt is too long: 210000 tokens > 200000 maximum", 210000, 200000),
}


@pytest.mark.parametrize(("words", "tokens", "context"), COUNTED.values(), ids=COUNTED.keys())
def test_an_engines_sentence_is_read_with_its_numbers(words: str, tokens: int | None, context: int) -> None:
    assert find_overflow(words) == Overflow(prompt_tokens=tokens, context=context)


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

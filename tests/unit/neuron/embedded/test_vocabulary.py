"""The tiny models can read any text and have one token per printable character."""

import gguf
import pytest

from cortex.neuron.embedded.vocabulary import BOS, EOS, NEWLINE, SPACE, build_vocabulary


def test_all_256_bytes_have_a_token():
    vocabulary = build_vocabulary()
    assert vocabulary.kinds.count(gguf.TokenType.BYTE) == 256
    assert vocabulary.tokens[3 + 0x0A] == NEWLINE


def test_every_printable_character_has_exactly_one_token():
    vocabulary = build_vocabulary()
    for code in range(0x21, 0x7F):
        assert vocabulary.tokens.count(bytes([code])) == 1
    assert vocabulary.tokens.count(SPACE) == 1


def test_the_columns_are_equally_long_and_the_specials_in_place():
    vocabulary = build_vocabulary()
    assert len(vocabulary.tokens) == len(vocabulary.scores) == len(vocabulary.kinds) == 359
    assert (vocabulary.tokens[BOS], vocabulary.tokens[EOS]) == (b"<s>", b"</s>")


def test_an_unknown_token_has_no_id():
    with pytest.raises(ValueError, match="not in tuple"):
        build_vocabulary().id_of(b"moonshine")

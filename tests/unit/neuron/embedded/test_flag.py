"""Every flag of the embedded engine sets something that the wheel really has."""

import pytest
import xllamacpp

from cortex.neuron.embedded.flag import (
    TOGGLES,
    VALUED,
    Member,
    cache_type,
    flash_attention,
    layers,
    pooling,
    reasoning_format,
    shares,
    split_mode,
    switch,
    words,
)

ROWS = [row for row in (*VALUED, *TOGGLES) if row.target != "reranking"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.target)
def test_the_target_is_an_attribute_of_the_wheels_parameters(row):
    owner = xllamacpp.CommonParams()
    for part in row.target.split("."):
        assert hasattr(owner, part)
        owner = getattr(owner, part)


def test_no_flag_is_listed_twice():
    names = [name for row in VALUED for name in row.names]
    names += [name for row in TOGGLES for name in (*row.on, *row.off)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (pooling, "mean"),
        (pooling, "rank"),
        (split_mode, "row"),
        (cache_type, "q8_0"),
        (cache_type, "iq4_nl"),
        (flash_attention, "auto"),
        (flash_attention, "on"),
        (flash_attention, "off"),
        (reasoning_format, "deepseek-legacy"),
    ],
)
def test_a_word_becomes_a_member_that_the_wheel_has(read, text):
    member = read(text)
    assert isinstance(member, Member)
    assert hasattr(getattr(xllamacpp, member.enum), member.name)


@pytest.mark.parametrize("read", [pooling, split_mode, cache_type, flash_attention, reasoning_format, switch, layers])
def test_an_unknown_word_is_refused(read):
    with pytest.raises(ValueError, match="moonshine"):
        read("moonshine")


def test_layers_are_a_number_or_a_word():
    assert [layers(text) for text in ("0", "999", "auto", "all")] == [0, 999, -1, -2]


def test_shares_are_separated_by_commas_or_slashes():
    assert shares("3,1") == shares("3/1") == [3.0, 1.0]


def test_empty_words_are_dropped():
    assert words("a,,b,") == ["a", "b"]

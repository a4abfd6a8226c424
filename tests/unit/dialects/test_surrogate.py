"""Characters that an engine cut in two come out whole."""

import pytest

from cortex.dialects.surrogate import Joint, well_formed


def joined(*pieces: str) -> tuple[list[str], str]:
    joint = Joint()
    return [joint.take(piece) for piece in pieces], joint.end()


def as_read(data: bytes) -> str:
    """As bytes that may be cut are read from a payload."""
    return data.decode("utf-8", "surrogateescape")


def test_whole_text_passes_as_it_is() -> None:
    assert joined("naïve", " 😀") == (["naïve", " 😀"], "")


def test_halves_of_a_surrogate_pair_are_joined() -> None:
    assert joined("a\ud83d", "\ude00b") == (["a", "😀b"], "")


def test_a_pair_whose_second_half_looks_like_a_byte_is_joined() -> None:
    assert joined("\ud83d", "\udcc2", "!") == (["", "\U0001f4c2", "!"], "")


@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_a_character_cut_anywhere_in_its_bytes_is_joined(character: str) -> None:
    data = character.encode()
    for cut in range(1, len(data)):
        pieces, rest = joined("x" + as_read(data[:cut]), as_read(data[cut:]) + "y")
        assert ("".join(pieces), rest) == (f"x{character}y", "")


def test_a_character_in_single_bytes_is_joined() -> None:
    assert joined(*(as_read(bytes([byte])) for byte in "😀".encode())) == (["", "", "", "😀"], "")


@pytest.mark.parametrize("half", ["\ud83d", chr(0xDE00), as_read(b"\xf0\x9f"), as_read(b"\x80")])
def test_half_a_character_becomes_a_replacement(half: str) -> None:
    pieces, rest = joined(f"a{half}b", f"c{half}")
    text = "".join(pieces) + rest
    assert text.strip("abc\ufffd") == ""
    assert text.count("\ufffd") == 2
    assert well_formed(f"a{half}b") == "a\ufffdb"


def test_a_first_half_that_another_follows_is_replaced() -> None:
    assert joined("\ud83d", "\ud83d", "\ude00") == (["", "\ufffd", "😀"], "")


def test_a_whole_text_is_made_well_formed() -> None:
    assert well_formed("a\ud83d\ude00" + as_read("é".encode())) == "a😀é"

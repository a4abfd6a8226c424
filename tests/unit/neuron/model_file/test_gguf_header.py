"""A GGUF header is read from real files; one that is cut, garbled or no GGUF at all is None, and never a crash."""

import struct
from pathlib import Path

import gguf
import pytest

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_model
from cortex.neuron.model_file.gguf_header import GgufHeader, read_header

STRING, ARRAY, UINT32 = 8, 9, 4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.gguf", TinyModel(layers=3, dim=64, heads=2, ctx=2048))


def text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    return pair(key, UINT32, struct.pack("<I", value))


LLAMA = pair("general.architecture", STRING, text("llama"))


def gguf_file(folder: Path, *pairs: bytes, version: int = 3, count: int | None = None) -> Path:
    """Write a file of these pairs and no tensor."""
    path = folder / "made.gguf"
    head = struct.pack("<4sIQQ", b"GGUF", version, 0, len(pairs) if count is None else count)
    path.write_bytes(head + b"".join(pairs))
    return path


def header(path: Path) -> GgufHeader:
    found = read_header(path)
    assert found is not None
    return found


def test_a_real_model_tells_its_shape(tiny: Path) -> None:
    found = header(tiny)
    facts = ("block_count", "embedding_length", "context_length", "attention.head_count", "attention.head_count_kv")
    assert found.architecture == "llama"
    assert [found.number(fact) for fact in facts] == [3, 64, 2048, 2, 2]
    assert found.facts["general.name"] == gguf.GGUFReader(tiny).fields["general.name"].contents()
    assert found.vocabulary == len(gguf.GGUFReader(tiny).fields["tokenizer.ggml.tokens"].data)


def test_a_real_model_is_read_or_is_none_wherever_it_is_cut(tiny: Path, tmp_path: Path) -> None:
    whole, cut = tiny.read_bytes()[:1500], tmp_path / "cut.gguf"
    outcomes = []
    for size in range(0, len(whole), 29):
        cut.write_bytes(whole[:size])
        outcomes.append(read_header(cut))
    assert (outcomes[0], outcomes[1]) == (None, None)
    assert outcomes[-1] == read_header(tiny)


@pytest.mark.parametrize(
    "content",
    [b"", b"GGUF", b"<!DOCTYPE html>" + b" " * 100, struct.pack("<4sIQQ", b"GGUF", 0x03000000, 0, 1)],
    ids=["empty", "short", "a web page", "big-endian"],
)
def test_what_is_no_gguf_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    assert read_header(path) is None


@pytest.mark.parametrize(("version", "is_read"), [(1, False), (2, True), (3, True), (4, False)])
def test_only_layouts_that_are_known_are_read(tmp_path: Path, version: int, is_read: bool) -> None:
    assert (read_header(gguf_file(tmp_path, LLAMA, version=version)) is not None) == is_read


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.gguf")


def array(inner: int, count: int, items: bytes) -> bytes:
    return struct.pack("<IQ", inner, count) + items


def test_values_of_every_kind_are_read(tmp_path: Path) -> None:
    kinds = {
        "u8": (0, "<B", 200), "i8": (1, "<b", -3), "u16": (2, "<H", 60000), "i16": (3, "<h", -4), "i32": (5, "<i", -5),
        "f32": (6, "<f", 0.5), "yes": (7, "<?", True), "u64": (10, "<Q", 1 << 40), "i64": (11, "<q", -6),
        "f64": (12, "<d", 0.25),
    }  # fmt: skip
    pairs = [pair(f"llama.{key}", kind, struct.pack(layout, value)) for key, (kind, layout, value) in kinds.items()]
    facts = header(gguf_file(tmp_path, LLAMA, *pairs)).facts
    assert {key: facts[key] for key in kinds} == {key: value for key, (_, _, value) in kinds.items()}


def test_lists_of_numbers_are_kept_and_long_ones_and_words_passed_over(tmp_path: Path) -> None:
    path = gguf_file(
        tmp_path,
        LLAMA,
        pair("llama.per_layer", ARRAY, array(UINT32, 3, struct.pack("<3I", 8, 1, 4))),
        pair("llama.long", ARRAY, array(UINT32, 2000, bytes(8000))),
        pair("llama.words", ARRAY, array(STRING, 2, text("a") + text("bc"))),
        pair("llama.nested", ARRAY, array(ARRAY, 1, array(UINT32, 1, bytes(4)))),
        number("llama.last", 7),
    )
    found = header(path)
    assert found.facts == {"general.architecture": "llama", "per_layer": (8, 1, 4), "last": 7}
    assert found.number("per_layer") == 8


def test_a_vocabulary_is_counted_and_what_follows_is_not_needed(tmp_path: Path) -> None:
    tokens = pair("tokenizer.ggml.tokens", ARRAY, array(STRING, 1 << 40, b""))
    found = header(gguf_file(tmp_path, LLAMA, number("llama.block_count", 2), tokens, count=99))
    assert (found.vocabulary, found.number("block_count")) == (1 << 40, 2)


def test_a_vocabulary_that_comes_first_is_walked(tmp_path: Path) -> None:
    tokens = pair("tokenizer.ggml.tokens", ARRAY, array(STRING, 2, text("<s>") + text("x")))
    found = header(gguf_file(tmp_path, tokens, LLAMA, number("llama.block_count", 2)))
    assert (found.vocabulary, found.architecture, found.number("block_count")) == (2, "llama", 2)


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        (number("general.architecture", 1),),
        (LLAMA, pair("x", 13, b"")),
        (LLAMA, struct.pack("<Q", 1 << 62) + b"x"),
        (LLAMA, pair("x", ARRAY, array(UINT32, 1 << 61, b""))),
        (LLAMA, pair("x", ARRAY, array(13, 2000, b""))),
        (LLAMA, pair("x", ARRAY, array(STRING, 1 << 62, text("a")))),
        (LLAMA, pair("x", ARRAY, b"".join(array(ARRAY, 1, b"") for _ in range(5000)))),
        (LLAMA, pair("x", STRING, struct.pack("<Q", 2) + b"\xff\xfe")),
    ],
    ids=[
        "no architecture",
        "an architecture that is a number",
        "a kind that is unknown",
        "a key beyond the end",
        "a list beyond the end",
        "a list of a kind that is unknown",
        "words beyond the end",
        "lists in lists without end",
        "bytes that are no text",
    ],
)
def test_garbage_is_none(tmp_path: Path, pairs: tuple[bytes, ...]) -> None:
    assert read_header(gguf_file(tmp_path, *pairs)) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (5.9, 5), ((1, 9, 3), 9), ((), 42), ("five", 42), (float("nan"), 42), ((float("inf"), 1), 42)],
)
def test_a_number_is_whole_and_what_is_none_is_the_default(value: object, expected: int) -> None:
    facts = {"key": value}
    assert GgufHeader(architecture="llama", facts=facts).number("key", 42) == expected  # type: ignore[arg-type]

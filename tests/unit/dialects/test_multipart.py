"""The model field of a form is found wherever it stands and however the form is cut on its way."""

import asyncio
import random
from itertools import pairwise

import pytest
from aiohttp import FormData
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex.contract.error import MalformedRequest
from cortex.dialects.multipart import (
    MAX_PADDING_BYTES,
    MAX_PART_HEAD_BYTES,
    MAX_PARTS,
    MAX_VALUE_BYTES,
    FieldScanner,
    boundary_of,
)

MODEL = b'Content-Disposition: form-data; name="model"\r\n\r\nwhisper-1'
FILE = (
    b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\nRI\xff\r\n\r\n--'
)
OTHER = b'Content-Disposition: form-data; name="language"\r\n\r\nen'


def form(*parts: bytes, preamble: bytes = b"", epilogue: bytes = b"", padding: bytes = b"") -> bytes:
    joined = b"".join(b"--cut%b\r\n%b\r\n" % (padding, part) for part in parts)
    return preamble + joined + b"--cut--\r\n" + epilogue


def named(disposition: str, value: bytes = b"whisper-1") -> bytes:
    return disposition.encode() + b"\r\n\r\n" + value


def scan(pieces: list[bytes], boundary: bytes = b"cut") -> FieldScanner:
    scanner = FieldScanner(boundary, b"model")
    for piece in pieces:
        scanner.feed(piece)
    return scanner


FOUND = {
    "first": form(MODEL, FILE),
    "last": form(FILE, OTHER, MODEL),
    "alone": form(MODEL),
    "after an empty part": form(named('Content-Disposition: form-data; name="prompt"', b""), MODEL),
    "after a preamble": form(FILE, MODEL, preamble=b"This is a multipart message.\r\n"),
    "after a preamble that looks like a part": form(MODEL, preamble=MODEL.replace(b"whisper", b"other") + b"\r\n"),
    "after a large file": form(FILE + b"x" * 20_000, MODEL),
    "before an epilogue": form(FILE, MODEL, epilogue=b"--cut\r\n" + MODEL.replace(b"whisper", b"other")),
    "with blanks behind the boundary": form(FILE, MODEL, padding=b" \t"),
    "first of two": form(MODEL, MODEL.replace(b"whisper", b"other")),
    "unquoted": form(named("Content-Disposition: form-data; name=model")),
    "header in lower case": form(named('content-disposition: form-data; name="model"')),
    "header in upper case": form(named('CONTENT-DISPOSITION:form-data;NAME="model"')),
    "among other headers": form(
        named('Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"\r\nContent-Length: 9')
    ),
    "header over two lines": form(named('Content-Disposition: form-data;\r\n name="model"')),
    "with a file name": form(named('Content-Disposition: form-data; filename="x; name=y"; name="model"')),
    "after a file name that looks like it": form(
        named('Content-Disposition: form-data; filename="x; name=\\"model\\""; name="file"', b"no"), MODEL
    ),
    "after a file name that names it": form(
        named('Content-Disposition: form-data; name="file"; filename="; name=model"', b"no"), MODEL
    ),
    "after a file name that names it first": form(
        named('Content-Disposition: form-data; filename="; name=model"; name="file"', b"no"), MODEL
    ),
    "after an extended name": form(named("Content-Disposition: form-data; name*=UTF-8''model", b"no"), MODEL),
    "after a header that quotes it": form(
        named(
            'X-Note: Content-Disposition: form-data; name="model"\r\nContent-Disposition: form-data; name="f"', b"no"
        ),
        MODEL,
    ),
    "after content that looks like a part": form(
        named('Content-Disposition: form-data; name="file"', b"--cut\r\r\n--cu\r\n--cutting\r\n\n--cut\r\n" + MODEL),
        MODEL,
    ),
    "after content that looks like a boundary": form(
        named('Content-Disposition: form-data; name="file"', b"x\r\n--cut-\r\n--cut -\r\n--cut\r--cut"), MODEL
    ),
    "after a file with line breaks at its end": form(FILE + b"\r\n\r\n", MODEL),
}


@pytest.mark.parametrize("body", FOUND.values(), ids=FOUND)
def test_the_field_is_found(body: bytes) -> None:
    scanner = scan([body])
    assert scanner.value == "whisper-1"
    begin, end = scanner.span
    assert body[begin:end] == b"whisper-1"
    assert scanner.take() == body


@pytest.mark.parametrize("body", FOUND.values(), ids=FOUND)
def test_the_field_is_found_byte_by_byte(body: bytes) -> None:
    scanner = scan([body[at : at + 1] for at in range(len(body))])
    assert scanner.value == "whisper-1"
    assert scanner.span == scan([body]).span


NOT_FOUND = {
    "another field only": form(OTHER, FILE),
    "nothing": b"--cut--\r\n",
    "a part without a name": form(named("Content-Type: text/plain")),
    "a part without headers": form(b"\r\nwhisper-1"),
    "an extended name only": form(named("Content-Disposition: form-data; name*=UTF-8''model")),
    "a name that begins like it": form(named('Content-Disposition: form-data; name="model_id"')),
    "a name in quotes in quotes": form(named('Content-Disposition: form-data; name="\\"model\\""')),
    "behind the end": b"--cut--\r\n" + form(MODEL),
}


@pytest.mark.parametrize("body", NOT_FOUND.values(), ids=NOT_FOUND)
def test_a_form_without_the_field_is_known_to_be_over(body: bytes) -> None:
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        scanner = scan(pieces)
        assert scanner.value is None
        assert scanner.is_over


def test_a_form_that_ends_early_is_not_over() -> None:
    body = form(FILE, MODEL)
    for end in range(body.index(b"whisper-1") + len(b"whisper-1\r\n--cut") - 1):
        scanner = scan([body[:end]])
        assert scanner.value is None
        assert not scanner.is_over


@pytest.mark.parametrize(
    "empty", [form(named('Content-Disposition: form-data; name="model"', b"")), form(b"X: y", MODEL[:-9])]
)
def test_an_empty_value_is_a_value(empty: bytes) -> None:
    for pieces in ([empty], [empty[at : at + 1] for at in range(len(empty))]):
        scanner = scan(pieces)
        assert scanner.value == ""
        assert scanner.span == (empty.index(b'"model"\r\n\r\n') + 11,) * 2


def test_a_value_may_look_like_a_boundary() -> None:
    body = form(named('Content-Disposition: form-data; name="model"', b"a\r\n--cutter\r\n-- cut"))
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        assert scan(pieces).value == "a\r\n--cutter\r\n-- cut"


def test_a_value_may_be_any_text() -> None:
    assert scan([form(named('Content-Disposition: form-data; name="model"', "modèle/☃".encode()))]).value == "modèle/☃"


def test_a_value_that_is_no_text_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="UTF-8"):
        scan([form(named('Content-Disposition: form-data; name="model"', b"\xff\xfe"))])


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_value_has_a_longest_length_however_it_is_cut(step: int) -> None:
    def model(size: int) -> list[bytes]:
        body = form(FILE, named('Content-Disposition: form-data; name="model"', b"x" * size))
        return [body[at : at + step] for at in range(0, len(body), step)]

    assert scan(model(MAX_VALUE_BYTES)).value == "x" * MAX_VALUE_BYTES
    with pytest.raises(MalformedRequest, match="longer than"):
        scan(model(MAX_VALUE_BYTES + 1))


def test_a_value_without_an_end_is_refused_before_the_body_ends() -> None:
    scanner = scan([b"--cut\r\n", MODEL])
    with pytest.raises(MalformedRequest, match="longer than"):
        scanner.feed(b"x" * (MAX_VALUE_BYTES + 100))


@pytest.mark.parametrize("step", [512, 1 << 20])
def test_a_part_with_an_endless_head_is_refused_however_it_is_cut(step: int) -> None:
    body = form(b"X-Long: " + b"x" * MAX_PART_HEAD_BYTES + b"\r\n" + MODEL)
    with pytest.raises(MalformedRequest, match="head of more than"):
        scan([body[at : at + step] for at in range(0, len(body), step)])


def test_a_field_behind_parts_without_measure_is_refused() -> None:
    assert scan([form(*[OTHER] * MAX_PARTS, MODEL)]).value == "whisper-1"
    with pytest.raises(MalformedRequest, match="behind more than 1000 others: send it first"):
        scan([form(*[OTHER] * (MAX_PARTS + 1), MODEL)])


def test_too_many_blanks_make_a_line_no_boundary() -> None:
    assert scan([form(MODEL, padding=b" " * MAX_PADDING_BYTES)]).value == "whisper-1"
    assert scan([form(MODEL, padding=b" " * (MAX_PADDING_BYTES + 1))]).value is None


@settings(deadline=None)
@given(st.sampled_from(sorted(FOUND)), st.lists(st.integers(0, 400)))
def test_the_field_is_found_however_the_body_is_cut(which: str, cuts: list[int]) -> None:
    body = FOUND[which]
    at = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    scanner = scan([body[begin:end] for begin, end in pairwise(at)])
    assert (scanner.value, scanner.span) == ("whisper-1", scan([body]).span)


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"-", b"c", b"u", b"t", b" ", b"\r\n--cut", b"--cut--"]), max_size=12))
def test_no_content_of_a_file_hides_the_field_but_a_real_boundary(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    body = form(named('Content-Disposition: form-data; name="file"', content), MODEL)
    found = scan([body])
    by_bytes = scan([body[at : at + 1] for at in range(len(body))])
    assert (found.value, found.is_over, found.span) == (by_bytes.value, by_bytes.is_over, by_bytes.span)
    if b"\r\n--cut" not in b"\r\n" + content:
        assert found.value == "whisper-1"


class Sink:
    """What aiohttp writes a body to."""

    def __init__(self) -> None:
        self.written = bytearray()

    async def write(self, piece: bytes) -> None:
        self.written += piece


def test_what_a_real_client_library_writes_is_read() -> None:
    """aiohttp's own form, its boundary and its file included."""

    async def written() -> tuple[bytes, bytes]:
        data = FormData(quote_fields=False)
        data.add_field("file", random.Random(1).randbytes(5000), filename='a "quoted"; name="model".wav')
        data.add_field("model", "org/whisper")
        form, sink = data(), Sink()
        await form.write(sink)
        return bytes(sink.written), form.headers["Content-Type"].encode()

    body, content_type = asyncio.run(written())
    scanner = scan([body], boundary_of(content_type))
    assert scanner.value == "org/whisper"
    assert body[slice(*scanner.span)] == b"org/whisper"


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=cut", b"cut"),
        (b"multipart/form-data;boundary=----WebKitFormBoundaryX", b"----WebKitFormBoundaryX"),
        (b'multipart/form-data; boundary="with blank;and,more"', b"with blank;and,more"),
        (b"Multipart/Form-Data; charset=utf-8; BOUNDARY=cut; x=y", b"cut"),
        (b"multipart/form-data; xboundary=no; boundary=cut", b"cut"),
    ],
)
def test_the_boundary_is_read(content_type: bytes, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", [b"multipart/form-data", b"multipart/form-data; boundary=", b""])
def test_a_missing_boundary_is_refused(content_type: bytes) -> None:
    with pytest.raises(MalformedRequest, match="without a boundary"):
        boundary_of(content_type)


def test_a_quoted_boundary_delimits() -> None:
    body = form(FILE, MODEL).replace(b"--cut", b"--with blank;and,more")
    assert scan([body], b"with blank;and,more").value == "whisper-1"


def test_what_is_kept_is_counted_and_handed_over() -> None:
    scanner = scan([b"--cut\r\n", FILE])
    assert scanner.size_bytes == 7 + len(FILE)
    assert scanner.take() == b"--cut\r\n" + FILE
    assert scanner.size_bytes == 0

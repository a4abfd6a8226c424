"""What is wrong with a body, and where."""

import msgspec
import pytest

from cortex.contract.error import MalformedRequest
from cortex.dialects.client_body import malformed, read_client_body, read_member


class Inner(msgspec.Struct):
    name: str
    many: list[str | int] | None = None


class Outer(msgspec.Struct):
    one: Inner | None = None
    rows: list[list[Inner]] | None = None
    raw: msgspec.Raw = msgspec.Raw()


decode = msgspec.json.Decoder(Outer).decode
decode_inner = msgspec.json.Decoder(Inner).decode


@pytest.mark.parametrize(
    ("body", "place", "why"),
    [
        (b'{"one":{}}', "one.name", "one.name: missing, but required"),
        (b'{"one":{"name":5}}', "one.name", "one.name: expected a string, got a whole number"),
        (b'{"one":[]}', "one", "one: expected an object or null, got an array"),
        (b'{"rows":[[],[{"name":"a"},{}]]}', "rows.1.1.name", "rows.1.1.name: missing, but required"),
        (
            b'{"one":{"name":"","many":["a",true]}}',
            "one.many.1",
            "one.many.1: expected a whole number or a string, got",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(body: bytes, place: str, why: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read_client_body(body, decode)
    assert caught.value.details["param"] == place
    assert caught.value.message.startswith(why)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "The request body must be a JSON object."),
        (b"", "The request has no body"),
        (b'{"one":', "not valid JSON"),
        (b'{"raw":{"a":"\xff"}}', "not valid JSON"),
        (b'{"one":{"name":"\\ud83d"}}', "half a character"),
        (b'{"raw":' + b"[" * 9999 + b"]" * 9999 + b"}", "nested too deeply"),
    ],
)
def test_what_is_no_object_of_text_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(MalformedRequest, match=why):
        read_client_body(body, decode)


def test_text_of_any_script_is_read() -> None:
    assert read_client_body('{"one":{"name":"äöü 😀"}}'.encode(), decode).one == Inner("äöü 😀")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"[1]", "raw.0: expected an object, got an array"),
        (b"{}", "raw.0.name: missing, but required"),
        (b'{"name":"\\ud83d"}', "raw.0: not valid JSON"),
        (b'{"name":"a","x":' + b"[" * 9999 + b"]" * 9999 + b"}", "raw.0: nested too deeply"),
    ],
)
def test_a_member_that_is_read_later_is_refused_with_its_place(value: bytes, why: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read_member("raw.0", msgspec.Raw(value), decode_inner)
    assert caught.value.message.startswith(why)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"a":[1,{"b":{"c":[[],[2,1e999]]}}]}', "a.1.b.c.1.1"),
        (b'{"a":1e999}', "a"),
        (b'{"a":' + b"[" * 99 + b"1e999" + b"]" * 99 + b"}", "a" + ".0" * 31),
    ],
)
def test_a_number_out_of_range_has_a_place_wherever_it_stands(body: bytes, place: str) -> None:
    with pytest.raises(MalformedRequest, match="number out of range") as caught:
        read_client_body(body, msgspec.json.decode)
    assert caught.value.details["param"] == place
    with pytest.raises(MalformedRequest) as caught:
        read_member("m.0", msgspec.Raw(body), msgspec.json.decode)
    assert caught.value.details["param"] == f"m.0.{place}"


def test_a_value_of_a_member_with_any_name_is_refused_too() -> None:
    with pytest.raises(MalformedRequest, match="expected a string"):
        read_client_body(b'{"a":5}', msgspec.json.Decoder(dict[str, str]).decode)


def test_an_error_of_ones_own_says_its_place_too() -> None:
    assert (malformed("a.1", "must be b").message, malformed("a.1", "x").details) == (
        "a.1: must be b",
        {"param": "a.1"},
    )

"""The model's name in an engine's answer, put right byte for byte."""

import msgspec
import pytest

from cortex.dialects.model_splice import find_splice, spliced


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"old","x":1}', b'{"model":"new","x":1}'),
        (b'{"x":1.50 , "model" : "old" }', b'{"x":1.50 , "model" : "new" }'),
        (b'{"model"\n:\t"old"}', b'{"model"\n:\t"new"}'),
        (b'{"model":""}', b'{"model":"new"}'),
        (b'{"model":"o\\"l\\\\"}', b'{"model":"new"}'),
        (b'{"model":"\\u006fld \xc3\xa9"}', b'{"model":"new"}'),
        (b'{"type":"model","model":"old"}', b'{"type":"model","model":"new"}'),
        (b'{"a":["model","model"],"model":"old"}', b'{"a":["model","model"],"model":"new"}'),
        (b'{"text":"\\"model\\":\\"old\\"","model":"old"}', b'{"text":"\\"model\\":\\"old\\"","model":"new"}'),
        (b'{"text":"say \\"model","model":"old"}', b'{"text":"say \\"model","model":"new"}'),
        (b'{"model":null,"a":{"model":"old"}}', b'{"model":null,"a":{"model":"new"}}'),
        (b'{"model":"bad \xff"}', b'{"model":"new"}'),
        (b'{"model":"bad \\x"}', b'{"model":"new"}'),
    ],
)
def test_the_name_is_replaced_and_nothing_else(body: bytes, expected: bytes) -> None:
    assert spliced(body, "new") == expected


def test_only_the_first_member_is_replaced() -> None:
    assert spliced(b'{"model":"old","parts":[{"model":"old"}]}', "new") == b'{"model":"new","parts":[{"model":"old"}]}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"not json",
        b'{"model":null}',
        b'{"model":7}',
        b'{"model":"unended',
        b'{"models":"old"}',
        b'{"text":"\\"model\\":\\"old\\""}',
        b'{"model"}',
    ],
)
def test_what_names_no_model_is_left_as_it_is(body: bytes) -> None:
    assert spliced(body, "new") is body
    assert find_splice(body, "new") is None


@pytest.mark.parametrize("body", [b'{"model":"new"}', b'{"model" : "\\u006eew"}'])
def test_a_right_name_is_left_as_it_is_written(body: bytes) -> None:
    assert spliced(body, "new") is body
    old, new = find_splice(body, "new") or (b"", b"x")
    assert old == new


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "Qwen/Qwen3-8B:é", "new\nline", "%d\\1\\g<0>"])
def test_any_name_is_written_as_json(name: str) -> None:
    assert msgspec.json.decode(spliced(b'{"x":1,"model":"old"}', name)) == {"x": 1, "model": name}

"""The head of a request, and the few bytes of it that may be changed."""

import msgspec
import pytest

from cortex.contract.error import MalformedRequest, ModelMissing
from cortex.dialects.openai_request import (
    SEARCHED_BYTES,
    Head,
    read_head,
    with_include_usage,
    with_max_tokens,
    with_model,
)

DEEP = b"[" * 50_000 + b"]" * 50_000


@pytest.mark.parametrize(
    ("body", "head"),
    [
        (b'{"model":"m"}', Head("m")),
        (b' \r\n{ "x" : [1] , "model" : "m" } ', Head("m")),
        (b'{"model":"m","stream":true}', Head("m", True)),
        (b'{"model":"m","stream":false,"stream_options":{"include_usage":true}}', Head("m")),
        (b'{"model":"m","stream":null}', Head("m")),
        (b'{"model":"m","stream":1}', Head("m")),
        (b'{"model":"m","stream":"true"}', Head("m")),
        (b'{"model":"m","stream":true,"stream_options":{}}', Head("m", True, True)),
        (b'{"model":"m","stream":true,"stream_options":null}', Head("m", True, True)),
        (b'{"model":"m","stream":true,"stream_options":[1]}', Head("m", True, True)),
        (b'{"model":"m","stream":true,"stream_options":{"include_usage":false}}', Head("m", True, True)),
        (b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}', Head("m", True, True, True)),
        (b'{"mod\\u0065l":"\\u006d\\u00e9"}', Head("mé")),
        (b'{"model":"first","model":"last"}', Head("last")),
        (b'{"a":{"model":"inner"},"model":"m"}', Head("m")),
        (b'{"a":"\xff","model":"m"}', Head("m")),
    ],
)
def test_the_head_is_read(body: bytes, head: Head) -> None:
    assert read_head(body) == head


@pytest.mark.parametrize(
    ("members", "most"),
    [
        (b'"max_tokens":5', 5),
        (b'"max_tokens":0', 0),
        (b'"max_completion_tokens":7', 7),
        (b'"max_tokens":5,"max_completion_tokens":7', 7),
        (b'"max_tokens":7,"max_completion_tokens":5', 7),
        (b'"max_tokens":1,"n_predict":1500', 1500),
        (b'"n_predict":1500', 1500),
        (b'"max_tokens":1,"n_predict":-1', -1),
        (b'"max_tokens":-1,"n":4', -1),
        (b'"max_tokens":1500.5', 1500),
        (b'"max_tokens":null,"n":4', None),
        (b'"max_tokens":"5"', None),
        (b'"max_tokens":true', None),
        (b'"max_tokens":5,"n":4', 20),
        (b'"max_tokens":5,"n":1,"n_cmpl":4', 20),
        (b'"max_tokens":5,"n":2,"best_of":3', 15),
        (b'"max_tokens":5,"n":-3,"n_cmpl":"4","best_of":0', 5),
    ],
)
def test_the_answer_is_taken_for_the_most_that_any_engine_would_make_of_it(members: bytes, most: int | None) -> None:
    """llama.cpp goes by ``n_predict`` and ``n_cmpl``, whatever ``max_tokens`` and ``n`` say beside them."""
    assert read_head(b'{"model":"m",' + members + b"}").max_tokens == most


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        (b'"text"', 1),
        (b"[1,2,3]", 1),
        (b'[1,"text"]', 1),
        (b'["text",1]', 1),
        (b'[ 7, "text"]', 1),
        (b'["a"]', 1),
        (b'["a","b","c"]', 3),
        (b'["a",[1,2],{"prompt_string":"c"}]', 3),
        (b" [ [1,2] , [3] ] ", 2),
        (b"[]", 1),
        (b"null", 1),
        (b"{}", 1),
    ],
)
def test_each_prompt_of_a_completion_has_an_answer(prompt: bytes, prompts: int) -> None:
    head = read_head(b'{"model":"m","prompt":' + prompt + b',"max_tokens":5,"n":2}')
    assert (head.prompts, head.choices, head.max_tokens) == (prompts, 2 * prompts, 10 * prompts)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "The request has no body"),
        (b" \n ", "The request has no body"),
        (b"hello", "not valid JSON"),
        (b'{"model":"m"', "not valid JSON"),
        (b'{"model":"m"} x', "not valid JSON"),
        (b'{"model":"m",}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"model":"\xff"}', "not valid JSON"),
        (b'{"model":"\\ud800"}', "half a character"),
        (b'{"model":"m","messages":[{"content":"cut \\uD83D"}]}', "half a character"),
        (b'{"model":"m","x":"\\ud83d\\ude00"', "not valid JSON"),
        (b'{"a":NaN,"model":"m"}', "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'"model"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a":' + DEEP + b',"model":"m"}', "nested too deeply"),
        (b'{"model":' + DEEP + b"}", "nested too deeply"),
        (b'{"model":null}', '"model" must be a string, not null'),
        (b'{"model":7}', '"model" must be a string, not a number'),
        (b'{"model":1.5}', '"model" must be a string, not a number'),
        (b'{"model":true}', '"model" must be a string, not a boolean'),
        (b'{"model":["m"]}', '"model" must be a string, not an array'),
        (b'{"model":{}}', '"model" must be a string, not an object'),
    ],
)
def test_what_is_no_request_is_refused_with_the_reason(body: bytes, why: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read_head(body)
    assert why in caught.value.message


@pytest.mark.parametrize("body", [b"{}", b'{"model":""}', b'{"Model":"m"}', b'{"a":{"model":"m"}}'])
def test_a_request_without_a_model_says_so(body: bytes) -> None:
    with pytest.raises(ModelMissing):
        read_head(body)


# include_usage


def counting(body: bytes) -> bytes:
    return with_include_usage(body, read_head(body))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"model":"m","stream":true}',
            b'{"stream_options":{"include_usage":true},"model":"m","stream":true}',
        ),
        (
            b' \n{ "model":"m","stream":true,"x":1.50}\n',
            b' \n{"stream_options":{"include_usage":true}, "model":"m","stream":true,"x":1.50}\n',
        ),
        (
            b'{"a":"{\\"stream_options\\":1}","model":"m","stream":true}',
            b'{"stream_options":{"include_usage":true},"a":"{\\"stream_options\\":1}","model":"m","stream":true}',
        ),
        (
            b'{"model":"m","stream":true,"stream_options":null,"x":1.50}',
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"x":1.50}',
        ),
        (
            b'{"model":"m","stream":true,"stream_options":{}}',
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"model":"m","stream":true,"stream_options":{"a":1.0,"include_usage":false}}',
            b'{"model":"m","stream":true,"stream_options":{"a":1.0,"include_usage":true}}',
        ),
        (
            b'{"model":"m","stream":true,"stream\\u005foptions":{}}',
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        ),
    ],
)
def test_usage_is_switched_on_and_the_rest_kept(body: bytes, expected: bytes) -> None:
    assert counting(body) == expected
    assert read_head(counting(body)).wants_usage


def test_usage_that_was_asked_for_needs_no_change() -> None:
    body = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'
    assert counting(body) is body


@pytest.mark.parametrize("options", [b"[1]", b"7", b'"yes"', b"true"])
def test_options_that_are_none_are_left_for_the_engine_to_refuse(options: bytes) -> None:
    body = b'{"model":"m","stream":true,"stream_options":' + options + b"}"
    assert counting(body) == body


def test_a_key_that_is_no_text_is_left_for_the_engine_to_refuse() -> None:
    body = b'{"model":"m","stream":true,"stream_options":{},"\xff":1}'
    assert counting(body) == body


# the model's name


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"old"}', b'{"model":"new"}'),
        (b'{ "x":1.50,"model" :\t"old" ,"y":[ 1 ]}\n', b'{ "x":1.50,"model" :\t"new" ,"y":[ 1 ]}\n'),
        (b'{"model":"o\\"ld\\\\","x":1}', b'{"model":"new","x":1}'),
        (b'{"model":"\\u00e9","x":"\\u00e9"}', b'{"model":"new","x":"\\u00e9"}'),
        (b'{"x":"\\"model\\":\\"old\\"","model":"old"}', b'{"x":"\\"model\\":\\"old\\"","model":"new"}'),
        # From here on one place is not certain, and the object is put together anew.
        (b'{"a":{"model":"old"}, "model":"old"}', b'{"a":{"model":"old"},"model":"new"}'),
        (b'{"a":{"model":"old"},"model":"\\u006fld"}', b'{"a":{"model":"old"},"model":"new"}'),
        (b'{"a":{"model":"old"},"mod\\u0065l":"old"}', b'{"a":{"model":"old"},"model":"new"}'),
        (b'{"a":{"model":"old"},"\\u006Dodel":"old"}', b'{"a":{"model":"old"},"model":"new"}'),
        (b'{"type":"model","model":"old"}', b'{"type":"model","model":"new"}'),
        (b'{"x":"say \\"model","model":"old"}', b'{"x":"say \\"model","model":"new"}'),
        (b'{"model":"older","x":1,"model":"old"}', b'{"model":"new","x":1}'),
        (b'{"a":1.50,"b":"\\u006f","model":"old"}', b'{"a":1.50,"b":"\\u006f","model":"new"}'),
    ],
)
def test_the_callers_name_becomes_the_engines_and_the_rest_is_kept(body: bytes, expected: bytes) -> None:
    read_head(body)
    assert with_model(body, "new") == expected
    assert read_head(with_model(body, "new")).model == "new"


@pytest.mark.parametrize("body", [b'{"model":"m","max_tokens":9,"n":1.50}', b'{"model":"m","n":1.50}'])
def test_an_answer_can_be_asked_for_that_is_shorter_or_as_long_as_there_is_room(body: bytes) -> None:
    assert with_max_tokens(body, 5) == b'{"model":"m","n":1.50,"max_tokens":5}'
    assert with_max_tokens(body, 0) == b'{"model":"m","n":1.50}'


def test_a_large_body_is_put_together_anew_with_its_values_as_they_are() -> None:
    large = b"x" * SEARCHED_BYTES
    body = b'{ "messages":[ "' + large + b'",1.50,"\\u00e9" ], "model":"old" }'
    assert with_model(body, "new") == b'{"messages":[ "' + large + b'",1.50,"\\u00e9" ],"model":"new"}'


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "é/ü:\n", "\\1"])
def test_any_name_is_written_as_json(name: str) -> None:
    for body in (b'{"model":"old"}', b'{"model":"old","a":{"model":1}}'):
        assert msgspec.json.decode(with_model(body, name))["model"] == name


def test_both_changes_go_together() -> None:
    body = b'{"messages":[{"role":"user","content":"\\"model\\""}],"model":"alias","stream":true}'
    assert msgspec.json.decode(with_model(counting(body), "m")) == {
        **msgspec.json.decode(body),
        "model": "m",
        "stream_options": {"include_usage": True},
    }

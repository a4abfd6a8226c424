"""Arguments of tool calls: repaired where that is safe, never completed."""

import json

import pytest

from cortex.dialects.tool_argument import Outline, repaired_arguments

COMMAND = '{"command": "rm -rf /data/tmp", "n": [1, {"a": null}]}'


@pytest.mark.parametrize(
    "text",
    [
        COMMAND,
        f"  {COMMAND}\n",
        json.dumps(COMMAND),
        json.dumps(json.dumps(COMMAND)),
        f"```json\n{COMMAND}\n```",
        f"```\n{COMMAND}```\n",
        f"{COMMAND}</tool_call>",
        f"{COMMAND}}}",
        f"{COMMAND}\n\nI have called the tool.",
        COMMAND + COMMAND,
        f"{COMMAND}\n{COMMAND}{COMMAND} .",
        f"{json.dumps(COMMAND)} .",
        f"```json\n{COMMAND}\n\n```",
    ],
)
def test_an_object_in_strange_clothes_is_that_object(text: str) -> None:
    found = repaired_arguments(text)
    assert found is not None
    assert json.loads(found) == json.loads(COMMAND)


@pytest.mark.parametrize("text", ["", " \n", "{}", "null", '""', '"{}"', "```json\n```", '" "'])
def test_nothing_is_no_arguments(text: str) -> None:
    assert repaired_arguments(text) == "{}"


@pytest.mark.parametrize("cut", range(1, len(COMMAND)))
def test_an_object_that_was_cut_anywhere_is_never_closed(cut: int) -> None:
    assert repaired_arguments(COMMAND[:cut]) is None
    assert repaired_arguments("```json\n" + COMMAND[:cut]) is None
    assert repaired_arguments("```json\n" + COMMAND[:cut] + "\n```") is None
    assert repaired_arguments(json.dumps(COMMAND)[: cut + 1]) is None
    assert repaired_arguments(json.dumps(COMMAND[:cut])) is None


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "7",
        "true",
        "{a:1}",
        "{'a': 1}",
        'call {"a":1}',
        '{"a":NaN}',
        '{"a":1}{"b":2}',
        '{} then {"a":1}',
        '"plain words"',
        "[" * 5000,
        '{"a":' * 5000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        '{"a":' + "9" * 5000 + "} x",
        "\ud83d",
    ],
)
def test_what_is_no_object_is_none(text: str) -> None:
    assert repaired_arguments(text) is None


def test_a_raw_line_break_within_a_string_is_that_line_break() -> None:
    found = repaired_arguments('{"code": "a\nb\tc"}')
    assert found is not None
    assert json.loads(found) == {"code": "a\nb\tc"}


def test_half_a_surrogate_pair_in_an_argument_is_still_text() -> None:
    found = repaired_arguments('{"a": "\\ud83d"}')
    assert found is not None
    assert found.encode()
    assert json.loads(found) == {"a": "\ud83d"}


def test_whole_arguments_are_given_on_as_they_were_written() -> None:
    text = '{ "b" : 1.0,\n "a" : 1e2 }'
    assert repaired_arguments(text) == text


def outlined(*pieces: str) -> bool:
    outline = Outline()
    for text in pieces:
        outline.take(text)
    return outline.may_be_whole


NESTED = '{"a": {"b": [1, "}]\\"", {}]}, "c": "\\\\"}'


def test_what_cannot_be_whole_is_seen_without_reading_it_wherever_it_is_cut() -> None:
    for cut in range(len(NESTED) + 1):
        assert outlined(NESTED[:cut]) == outlined(*NESTED[:cut]) == (cut == len(NESTED))
        assert outlined(NESTED[:cut], "", NESTED[cut:], "\n")
    assert not outlined("")
    assert not outlined(" \n")


def test_json_in_a_string_or_a_fence_may_be_whole_where_it_ends() -> None:
    assert [cut for cut in range(9) if outlined('"{\\"a\\":1}"'[:cut])] == []
    assert outlined('"{\\"a\\":1}"')
    assert outlined("```json\n{}\n```")


def test_what_closes_more_than_it_opens_is_for_reading_to_judge() -> None:
    assert outlined('{"a":1}}')

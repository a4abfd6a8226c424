"""Tool calls are put together however engines cut, number and repeat them."""

from typing import Any

import msgspec
import pytest
from tests.unit.dialects.chat_engine import piece

from cortex.contract.error import UpstreamBroken
from cortex.dialects.chat_chunk import CallPiece
from cortex.dialects.chat_event import Called
from cortex.dialects.tool_argument import repaired_arguments
from cortex.dialects.tool_assembly import ToolAssembly

ONE = Called(id="a", name="f", arguments='{"x":1}')
TWO = Called(id="b", name="g", arguments='{"y":2}')


def assembled(*chunks: list[Any]) -> ToolAssembly:
    assembly = ToolAssembly()
    for pieces in chunks:
        assembly.take(msgspec.convert(pieces, list[CallPiece]))
    return assembly


def calls(*chunks: list[Any]) -> list[Called]:
    """The calls at the end, none of them cut, and the same when they leave as soon as they may."""
    assembly = assembled(*chunks)
    found = assembly.end()
    assert not assembly.has_cut_call
    eager, left = ToolAssembly(), []
    for pieces in chunks:
        eager.take(msgspec.convert(pieces, list[CallPiece]))
        left += eager.whole()
    assert left + eager.end() == found
    assert not eager.has_cut_call
    return found


def fragments(text: str, index: int | None = 0, **more: str) -> list[list[Any]]:
    return [[piece(part, index=index, **more)] for part in text]


def test_a_call_in_fragments_as_openai_sends_it() -> None:
    assert calls([piece("", "f", "a")], *fragments('{"x":1}')) == [ONE]


def test_a_whole_call_in_one_chunk() -> None:
    assert calls([piece('{"x":1}', "f", "a")]) == [ONE]


def test_two_whole_calls_in_one_chunk() -> None:
    assert calls([piece('{"x":1}', "f", "a"), piece('{"y":2}', "g", "b", 1)]) == [ONE, TWO]


def test_arguments_begin_in_the_first_chunk() -> None:
    assert calls([piece('{"x"', "f", "a")], [piece(":1}")]) == [ONE]


def test_arguments_come_only_in_the_last_chunk() -> None:
    assert calls([piece(None, "f", "a")], [piece("")], [piece('{"x":1}')]) == [ONE]


def test_id_and_name_on_every_chunk_are_one_call() -> None:
    assert calls(*fragments('{"x":1}', name="f", id="a")) == [ONE]


def test_a_new_id_on_every_chunk_is_one_call() -> None:
    parts = [[piece(part, id=f"a{place}")] for place, part in enumerate('{"x":1}', 1)]
    assert calls([piece("", "f", "a")], *parts) == [ONE]


def test_every_call_with_index_0_is_its_own_by_its_id() -> None:
    assert calls(
        [piece("", "f", "a")], *fragments('{"x":1}'), [piece("", "g", "b")], *fragments('{"y":2}', id="b")
    ) == [ONE, TWO]


def test_every_call_with_index_0_and_no_id_is_its_own_by_its_name() -> None:
    same = ONE.arguments
    assert [each.arguments for each in calls([piece(same, "f")], [piece('{"x":2}', "f")], [piece(same, "f")])] == [
        same,
        '{"x":2}',
        same,
    ]


def test_words_after_its_arguments_do_not_make_a_call_take_up_the_next() -> None:
    found = calls([piece('{"x":1}\n</tool_call>', "f")], [piece("", "g")], [piece('{"y":2}')])
    assert [(each.name, each.arguments) for each in found] == [("f", '{"x":1}'), ("g", '{"y":2}')]


def test_one_id_for_all_calls_with_their_own_index_are_several() -> None:
    found = calls([piece('{"x":1}', "f", "call_0", 0)], [piece('{"y":2}', "g", "call_0", 1)])
    assert [each.name for each in found] == ["f", "g"]


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    assert calls(
        [piece("", "f", "a", None)],
        [piece('{"x"', None, "a", None)],
        [piece(":1}", None, "a", None)],
        [piece("", "g", "b", None)],
        [piece('{"y":2}', None, "b", None)],
    ) == [ONE, TWO]


def test_fragments_without_index_and_id_belong_to_the_last_call() -> None:
    assert calls([piece("", "f", "a", None)], *fragments('{"x":1}', None)) == [ONE]


def test_whole_calls_without_index_and_id_in_one_chunk_are_several() -> None:
    found = calls([piece({"x": 1}, "f", None, None), piece({"x": 1}, "f", None, None)])
    assert [(each.name, each.arguments) for each in found] == [("f", '{"x":1}'), ("f", '{"x":1}')]


def test_an_index_that_is_missing_at_first_or_later_is_no_new_call() -> None:
    assert calls([piece("", "f", "a", None)], [piece('{"x":1}')]) == [ONE]
    assert calls([piece("", "f", "a")], [piece('{"x":1}', index=None)]) == [ONE]


def test_a_name_in_fragments_is_joined() -> None:
    assert calls([piece(None, "get_", "a")], [piece(None, "weather")], [piece("{}")])[0].name == "get_weather"


def test_a_name_and_an_id_that_come_late_are_taken() -> None:
    assert calls([piece('{"x"')], [piece(":", "f")], [piece("1}", id="a")]) == [ONE]


def test_a_name_in_fragments_may_come_while_arguments_do() -> None:
    (found,) = calls([piece('{"city"')], [piece(None, "get_")], [piece(':"A"}', "weather")])
    assert (found.name, found.arguments) == ("get_weather", '{"city":"A"}')


def test_interleaved_calls_are_each_whole() -> None:
    assert calls(
        [piece('{"x"', "f", "a", 0), piece('{"y"', "g", "b", 1)],
        [piece(":", index=0)],
        [piece(":2", index=1)],
        [piece("1}", index=0), piece("}", index=1)],
    ) == [ONE, TWO]


def test_interleaved_calls_with_one_index_are_told_apart_by_their_ids() -> None:
    assert calls(
        [piece('{"x"', "f", "a")],
        [piece('{"y"', "g", "b")],
        [piece(":1}", id="a")],
        [piece(":2}", id="b")],
    ) == [ONE, TWO]


def test_arguments_as_an_object_are_written_as_text() -> None:
    assert calls([piece({"x": 1}, "f", "a")]) == [ONE]


def test_a_large_number_and_half_a_character_in_an_object_are_kept() -> None:
    found = assembled()
    found.take([CallPiece(index=0, id="a", function=None)])
    odd = msgspec.convert([piece(None, "f", "a")], list[CallPiece])
    assert odd[0].function is not None
    odd[0].function.arguments = {"n": 10**400, "t": "\ud83d"}
    found.take(odd)
    (call,) = found.end()
    assert call.arguments == '{"n":1' + "0" * 400 + ',"t":"\\ud83d"}'


@pytest.mark.parametrize("nothing", [None, "", "{}", "null"])
def test_a_call_without_arguments_has_an_empty_object(nothing: str | None) -> None:
    assert calls([piece(nothing, "f", "a")])[0].arguments == "{}"


def test_two_calls_without_arguments_are_two() -> None:
    found = calls([piece("", "f", "a", 0)], [piece("", "g", "b", 1)])
    assert [(each.name, each.arguments) for each in found] == [("f", "{}"), ("g", "{}")]


def test_two_calls_without_arguments_and_one_index_are_two_by_their_ids() -> None:
    found = calls([piece("", "f", "a")], [piece("", "g", "b")], [piece("", "g", "c")])
    assert [(each.id, each.name) for each in found] == [("a", "f"), ("b", "g"), ("c", "g")]


def test_arguments_said_once_more_at_the_end_are_no_second_call() -> None:
    assert calls([piece('{"x":1}', "f", "a")], [piece('{"x":1}', "f", "a")]) == [ONE]
    assert calls([piece('{"x":1}', "f", "a")], [piece('{"x":1}')]) == [ONE]
    assert calls(*[[piece('{"x":1}', "f", "a")]] * 4) == [ONE]


def test_empty_entries_are_nothing() -> None:
    assert calls([], [{}], [{"index": 0}], [piece("")], [piece('{"x":1}', "f", "a")], [{"index": 1}]) == [ONE]


def test_a_call_leaves_once_another_begins_and_not_before() -> None:
    assembly = assembled([piece("", "f", "a")], *fragments('{"x":1'))
    assert assembly.whole() == []
    assert not assembly.take(msgspec.convert([piece("}")], list[CallPiece]))
    assert assembly.take(msgspec.convert([piece("", "g", "b", 1)], list[CallPiece]))
    assert assembly.whole() == [ONE]
    assert assembly.end() == [Called(id="b", name="g", arguments="{}")]
    assert assembly.end() == []


def test_calls_leave_in_the_order_in_which_they_began() -> None:
    assembly = assembled([piece('{"x"', "f", "a", 0)], [piece('{"y":2}', "g", "b", 1)])
    assert assembly.whole() == []
    assembly.take(msgspec.convert([piece(":1}")], list[CallPiece]))
    assert assembly.whole() == [ONE, TWO]


@pytest.mark.parametrize(
    "chunks",
    [
        [[piece('{"x": "rm -rf /da', "f", "a")]],
        [[piece("[1]", "f", "a")]],
        [[piece(7, "f", "a")]],
        [[piece('{"x":1}', None, "a")]],
        [[piece('{"x":1}{"y":2}', "f", "a")]],
    ],
)
def test_what_must_not_be_executed_is_dropped_and_said(chunks: list[list[Any]]) -> None:
    assembly = assembled(*chunks)
    assert assembly.end() == []
    assert assembly.has_cut_call


def test_whole_calls_beside_a_cut_one_are_kept() -> None:
    assembly = assembled([piece('{"x":1}', "f", "a")], [piece('{"y":', "g", "b", 1)])
    assert assembly.end() == [ONE]
    assert assembly.has_cut_call


@pytest.mark.parametrize("names", [("get_weather",), ("get_",), ("get_", "wea")])
def test_at_a_cut_a_call_whose_arguments_had_yet_to_come_is_dropped(names: tuple[str, ...]) -> None:
    assembly = assembled([piece('{"x":1}', "f", "a")], *[[piece("", name, "b", 1)] for name in names])
    assert assembly.end(is_cut=True) == [ONE]
    assert assembly.has_cut_call


def test_at_a_cut_what_had_begun_before_the_last_call_stays() -> None:
    assembly = assembled([piece("", "f", "a")], [piece("{}", "g", "b", 1)])
    assert [call.name for call in assembly.end(is_cut=True)] == ["f", "g"]
    assert not assembly.has_cut_call


def test_every_piece_is_looked_at_once_however_whole_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counting(text: str) -> str | None:
        read.append(len(text))
        return repaired_arguments(text)

    monkeypatch.setattr("cortex.dialects.tool_assembly.repaired_arguments", counting)
    for odd in ('"a}",', "}", '"'):
        read.clear()
        assembly = assembled([piece("{", "f", "a")], *[[piece(odd, "f", "a")] for _ in range(2000)])
        assembly.whole()
        assembly.end()
        assert sum(read) < 8 * 2000 * len(odd)


def test_calls_without_end_are_the_end_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortex.dialects.tool_assembly.MAX_CHARACTERS", 100)
    monkeypatch.setattr("cortex.dialects.tool_assembly.MAX_CALLS", 3)
    with pytest.raises(UpstreamBroken):
        assembled([piece("{", "f", "a")], *fragments('"' * 200))
    with pytest.raises(UpstreamBroken):
        assembled(*[[piece("", letter * 30)] for letter in "abcdef"])
    with pytest.raises(UpstreamBroken):
        assembled(*[[piece("", "f", None, index)] for index in range(9)])


def test_words_after_a_call_that_has_left_are_dropped_but_not_another_object() -> None:
    assembly = assembled([piece('{"x":1}', "f", "a", 0)])
    assert assembly.whole() == [ONE]
    assembly.take(msgspec.convert([piece("\n"), piece("}"), piece("</tool_call>")], list[CallPiece]))
    assert not assembly.has_cut_call
    assembly.take(msgspec.convert([piece('{"x":2}')], list[CallPiece]))
    assert assembly.has_cut_call

"""What a load may say to a server that is started by a command."""

from typing import Any

import pytest
from tests.unit.neuron.harness.builder import a_request

from cortex.contract.error import MalformedRequest
from cortex.neuron.command_check import check_args, check_words

ALLOWED = ("--dtype", "--seed")
QUANTS = ("awq", "fp8")


@pytest.mark.parametrize(
    "args",
    [(), ("--dtype", "half"), ("--dtype=half",), ("--seed", "-1"), ("--seed", "-1.5e-3"), ("word",)],
    ids=["none", "a flag", "with its value", "a negative number", "a small one", "a word"],
)
def test_flags_that_are_allowed_and_their_values_may_be_given(args: tuple[str, ...]) -> None:
    check_args(args, ALLOWED, "lab")


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("--api-key", "x"), "--api-key"),
        (("--trust-remote-code",), "--trust-remote-code"),
        (("--dtype", "--host=::"), "--host"),
        (("--dty", "half"), "--dty"),
        (("--dtype_", "half"), "--dtype_"),
        (("-O3",), "-O3"),
        (("-1x",), "-1x"),
        (("-",), "-"),
        (("--",), "--"),
    ],
    ids=["a key", "code", "as a value", "shortened", "altered", "short", "no number", "a dash", "two dashes"],
)
def test_any_other_flag_is_refused_with_those_that_may_be_given(args: tuple[str, ...], named: str) -> None:
    with pytest.raises(MalformedRequest) as refusal:
        check_args(args, ALLOWED, "lab")
    assert refusal.value.message.startswith(f"args: {named} cannot be given to harness 'lab' by a load")
    assert "loads may give: --dtype, --seed" in refusal.value.message


def test_where_none_is_allowed_it_says_how_one_would_be() -> None:
    with pytest.raises(MalformedRequest, match="by a load; the entry's own `args` can have it, or its `allow_args`"):
        check_args(("--x",), (), "lab")


def test_zero_bytes_are_refused() -> None:
    with pytest.raises(MalformedRequest, match="zero bytes"):
        check_args(("a\0b",), ALLOWED, "lab")


EVERYTHING = ("CONTEXT", "QUANT", "MMPROJ")


def test_words_that_the_command_has_a_place_for_are_right() -> None:
    check_words(a_request(source="/m", quant="awq", mmproj="/p", context=1), EVERYTHING, "lab", QUANTS)
    check_words(a_request(quant="whatever"), ("QUANT",), "lab", ())
    check_words(a_request(), (), "lab", QUANTS)


@pytest.mark.parametrize("field", ["model_id", "source", "quant", "mmproj"])
@pytest.mark.parametrize("text", ["--trust-remote-code", "-x", "a\0b"])
def test_a_word_that_would_be_a_flag_is_refused(field: str, text: str) -> None:
    with pytest.raises(MalformedRequest, match=f"{field}: expected words that do not begin with a dash"):
        check_words(a_request(**{field: text}), EVERYTHING, "lab", ())


@pytest.mark.parametrize(
    ("fields", "variable"), [({"context": 1}, "CONTEXT"), ({"quant": "awq"}, "QUANT"), ({"mmproj": "/p"}, "MMPROJ")]
)
def test_what_the_command_has_no_place_for_is_never_silently_dropped(fields: dict[str, Any], variable: str) -> None:
    with pytest.raises(MalformedRequest) as refusal:
        check_words(a_request(**fields), {*EVERYTHING} - {variable}, "lab", ())
    assert f"the command of harness 'lab' has no ${{{variable}}}" in refusal.value.message


def test_a_quantisation_that_is_not_offered_is_refused_with_those_that_are() -> None:
    with pytest.raises(MalformedRequest, match="quant: harness 'lab' does not offer Q4_K_M; it offers: awq, fp8"):
        check_words(a_request(quant="Q4_K_M"), EVERYTHING, "lab", QUANTS)

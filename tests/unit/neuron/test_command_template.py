"""A command as it is written down: what may stand in it, and what it is filled in with."""

import pytest

from cortex.neuron.command_template import OPTIONAL, VARIABLES, Template, Words, read_command, unknown_variables


def words_of(cmd: str | Words, **values: str) -> tuple[str, ...]:
    return Template(read_command(cmd), {}).fill(values)[0]


@pytest.mark.parametrize(
    ("cmd", "words"),
    [
        ("serve --port ${PORT}", ("serve", "--port", "81")),
        ("serve --port=${PORT} --bind ${HOST}:${PORT}", ("serve", "--port=81", "--bind", "::1:81")),
        ("serve 'a b' \"${MODEL_ID}\"", ("serve", "a b", 'x "y" ${PORT}')),
        (("serve", "${MODEL_ID}", "$HOME", "$PORT"), ("serve", 'x "y" ${PORT}', "$HOME", "$PORT")),
    ],
    ids=["a word of its own", "within words", "a value stays whole and as it is", "nothing else of a shell"],
)
def test_a_command_is_filled_in(cmd: str | Words, words: tuple[str, ...]) -> None:
    assert words_of(cmd, PORT="81", HOST="::1", MODEL_ID='x "y" ${PORT}') == words


GROUPED: Words = ("serve", ("--ctx", "${CONTEXT}"), ("--port", "${PORT}"), ("--plain",))


def test_a_group_stands_only_where_all_of_it_has_a_value() -> None:
    assert words_of(GROUPED, PORT="1") == ("serve", "--port", "1", "--plain")
    assert words_of(GROUPED, PORT="1", CONTEXT="9") == ("serve", "--ctx", "9", "--port", "1", "--plain")


def test_the_environment_is_filled_in_as_well() -> None:
    template = Template(("serve",), {"SERVER_KEY": "k-${KEY}", "PLAIN": "$KEY"})
    assert template.fill({"KEY": "abc"})[1] == {"SERVER_KEY": "k-abc", "PLAIN": "$KEY"}


def test_what_stands_outside_groups_is_needed() -> None:
    template = Template(GROUPED, {"A": "${KEY}"})
    assert template.variables == {"CONTEXT", "PORT", "KEY"}
    assert template.needed() == {"KEY"}


@pytest.mark.parametrize(
    ("cmd", "words"),
    [
        ("", "expected a program"),
        ("  ", "expected a program"),
        ((), "expected a program"),
        ((("serve",),), "expected a program"),
        (("",), "expected a program"),
        ("serve 'a", "No closing quotation"),
        ("serve --port ${PORT} | tee log", r"no shell that would understand '\|'"),
        ("cd /x && serve", "no shell that would understand '&&'"),
        ("serve > log", "no shell that would understand '>'"),
        ("A=1 serve", "no shell that would understand 'A=1'; variables go into `env`"),
    ],
    ids=[
        "nothing",
        "blank",
        "no words",
        "a group first",
        "no name",
        "a quote",
        "a pipe",
        "two",
        "a file",
        "a variable",
    ],
)
def test_what_is_no_command_is_told(cmd: str | Words, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_command(cmd)


def test_a_list_may_have_any_words() -> None:
    assert words_of(("serve", "|", ";")) == ("serve", "|", ";")


def test_a_variable_that_there_is_not_is_found_wherever_it_stands() -> None:
    template = Template(("serve", "${PROT}", ("${X}",), "${PORT}", "${}"), {"A": "${HOME}"})
    assert unknown_variables(template) == ["", "HOME", "PROT", "X"]


def test_what_is_optional_can_be_filled_in() -> None:
    assert set(VARIABLES) >= OPTIONAL

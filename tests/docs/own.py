"""Command lines of ours, held against the very parsers that would read them; nothing is run."""

import argparse
import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

import typer

from cortex.cli import neuron, neuron_doctor, serve
from cortex.cli.command import app


def complaint(words: Sequence[str]) -> str:
    """Return what our parser has against a command line, program first; empty where it has nothing."""
    program, rest = words[0].rpartition("/")[2], list(words[1:])
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            found = parser(program, rest)
            if found is None:
                _descend(typer.main.get_command(app), "cortex", rest, None)
            else:
                found[0].parse_args(found[1])
    except SystemExit as end:
        return said.getvalue() if end.code else ""
    except Exception as error:  # of click or of what typer has in its place
        if hasattr(error, "format_message"):
            return f"{type(error).__name__}: {error.format_message()}"
        if getattr(error, "exit_code", None) == 0:
            return ""
        raise
    return ""


def parser(program: str, words: list[str]) -> tuple[argparse.ArgumentParser, list[str]] | None:
    """Return who reads a command line by argparse, and what of it; None where it is typer."""
    if program == "cortex-neuron":
        is_doctor = words[:1] == ["doctor"]
        return (neuron_doctor._parser(), words[1:]) if is_doctor else (neuron._parser(), words)
    return (serve._parser(), words[1:]) if words[:1] == ["serve"] else None


def _descend(command: Any, name: str, words: list[str], parent: Any) -> None:
    """Parse as click does, group by group, without calling anything."""
    with command.make_context(name, list(words), parent=parent) as context:
        if hasattr(command, "resolve_command"):
            left = [*context._protected_args, *context.args]
            if left:
                found, below, rest = command.resolve_command(context, left)
                _descend(below, found or "", rest, context)


def unknown(text: str) -> list[str]:
    """Return the words of a command in a sentence, as ``cortex drain NODE``, that are no command and no option."""
    program, *words = text.split()
    found = parser(program, words)
    options: set[str] = set()
    if found is not None:
        options = set(found[0]._option_string_actions)
        choices = [action.choices for action in found[0]._actions if action.choices and not action.option_strings]
        plain = [word for word in found[1][:1] if not word.startswith("-")]
        bad = [word for word in plain if choices and word not in choices[0]]
    else:
        command: Any = typer.main.get_command(app)
        options, bad = _options(command), []
        for word in words:
            if word.startswith("-"):
                continue
            if not hasattr(command, "commands"):
                break
            if word not in command.commands:
                bad.append(word)
                break
            command = command.commands[word]
            options |= _options(command)
    said = re.findall(r"(?<!\S)(--?[a-z][\w-]*)", text)
    return bad + [option for option in said if option not in options]


def _options(command: Any) -> set[str]:
    own = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    return own | set(command.context_settings.get("help_option_names", ["--help"]))

"""Writes the manual's pages: those of the commands from their own options, those of the files from their reference.

    python packaging/man/build.py [DIRECTORY]

The pages are checked in, and a test sees that this program would write the very same.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

sys.path.insert(0, str(Path(__file__).parent))
from roff import escaped, from_markdown, inline, item, lines, literal

from cortex import __version__
from cortex.cli import neuron, serve
from cortex.cli.command import app
from cortex.cli.neuron_doctor import _parser as doctor_parser
from cortex.testing.replay import _parser as replay_parser

HERE = Path(__file__).resolve().parent
CONFIGURATION = HERE.parent.parent / "docs" / "configuration.md"
DATE = "2026-11-26"
"""When what they say was last looked at by a person."""
CLOSING = {
    "cortex.1": "cortex-neuron(8), cortex.toml(5), models.toml(5)",
    "cortex-neuron.8": "cortex(1), neuron.toml(5)",
    "cortex.toml.5": "cortex(1), models.toml(5), neuron.toml(5)",
    "models.toml.5": "cortex(1), cortex.toml(5)",
    "neuron.toml.5": "cortex-neuron(8), cortex.toml(5)",
}
ABOUT = {
    "cortex.toml": "configuration of the gateway of cortex",
    "models.toml": "catalogue of models of cortex",
    "neuron.toml": "configuration of a GPU host's neuron of cortex",
}


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    made = {"cortex.1": gateway_page(), "cortex-neuron.8": neuron_page()}
    made |= {f"{name}.5": file_page(name) for name in ABOUT}
    return {name: _whole(name, body) for name, body in made.items()}


def _whole(name: str, body: Iterator[str]) -> str:
    title, _, section = name.rpartition(".")
    head = f'.TH "{title.upper()}" "{section}" "{DATE}" "cortex {__version__}" "cortex"'
    closing = [".SH SEE ALSO", *lines(CLOSING[name])]
    text = "\n".join([r".\" Written by packaging/man/build.py; change what it reads.", head, *body, *closing]) + "\n"
    return re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", text, flags=re.MULTILINE)


def gateway_page() -> Iterator[str]:
    """Yield the page of ``cortex`` with all its commands."""
    root = typer.main.get_command(app)
    yield from _named("cortex", "one API in front of a fleet of GPU machines")
    yield from (".SH SYNOPSIS", rf"{literal('cortex')} [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]")
    yield from (".SH DESCRIPTION", *lines(inline(_sentence(root.help))))
    yield from lines(
        r"\fBcortex serve\fR is the gateway; the others are for its operators and speak to its admin API. "
        r"Each says more with \fB\-\-help\fR."
    )
    yield from (".SH OPTIONS", *_options(root))
    yield ".SH COMMANDS"
    for words, command in sorted(_commands(root, ("cortex",))):
        yield from _command(words, command)
    yield from (".SH EXIT STATUS", *_statuses(), ".SH ENVIRONMENT", *_environment())
    yield from (
        ".SH FILES",
        *item(r"\fI/etc/cortex/cortex.toml\fR, \fI~/.config/cortex/cortex.toml\fR", "see cortex.toml(5)"),
    )


def _command(words: str, command: Any) -> Iterator[str]:
    """Yield one command: how it is called, what it does, its options."""
    known = {"cortex serve": serve._parser, "cortex replay": replay_parser}
    yield f'.SS "{escaped(words)}"'
    if words in known:
        parser = known[words]()
        yield from lines(inline(_sentence(command.help)))
        yield from _arguments(parser)
        return
    takes = [
        rf"\fI{escaped(one.metavar or one.name.upper())}\fR"
        for one in command.params
        if not one.opts[0].startswith("-")
    ]
    yield from lines(" ".join([literal(words), r"[\fIOPTIONS\fR]", *takes]))
    yield from (".PP", *lines(inline(_sentence(command.help))))
    yield from _options(command)


def _commands(group: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*above, name))
        else:
            yield " ".join((*above, name)), command


def _options(command: Any) -> Iterator[str]:
    for option in command.params:
        help_ = getattr(option, "help", None) or ""
        if not option.opts[0].startswith("-"):
            yield from item(rf"\fI{escaped(option.metavar or option.name.upper())}\fR", inline(_sentence(help_)))
            continue
        names = ", ".join(literal(name) for name in sorted(option.opts, key=len))
        names += "".join(f" | {literal(name)}" for name in option.secondary_opts)
        value = "" if option.is_flag else rf" \fI{escaped(option.metavar or option.name.upper())}\fR"
        yield from item(names + value, inline(_sentence(help_)), _default(option))


def _default(option: Any) -> str:
    said = [f"Default: {literal(str(option.default))}."] if _has_default(option) else []
    if option.envvar:
        said.append(f"Environment: {literal(option.envvar)}.")
    return " ".join(said)


def _has_default(option: Any) -> bool:
    return not option.is_flag and option.default not in (None, "") and not callable(option.default)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the options of a program that argparse reads."""
    for action in parser._actions:
        help_ = inline(_sentence((action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")))
        if not action.option_strings:
            words = "|".join(action.choices) if action.choices else action.metavar or action.dest.upper()
            yield from item(rf"\fI{escaped(str(words))}\fR", help_)
            continue
        names = ", ".join(literal(name) for name in action.option_strings)
        value = "" if action.nargs == 0 else rf" \fI{escaped(str(action.metavar or action.dest.upper()))}\fR"
        yield from item(names + value, help_)


def neuron_page() -> Iterator[str]:
    """Yield the page of ``cortex-neuron``."""
    parser, doctor = neuron._parser(), doctor_parser()
    yield from _named("cortex-neuron", "runs the engines of one GPU host for the gateways of cortex")
    yield ".SH SYNOPSIS"
    yield from lines(rf"{literal('cortex-neuron')} [\fBserve\fR|\fBcheck\fR|\fBdoctor\fR] [\fIOPTIONS\fR]")
    yield from (".SH DESCRIPTION", *lines(inline(_sentence(parser.description))))
    yield from (".SH OPTIONS", *_arguments(parser))
    yield from ('.SH "CORTEX-NEURON DOCTOR"', *lines(inline(_sentence(doctor.description))), *_arguments(doctor))
    yield from (".SH EXIT STATUS", *item("0", "It was told to stop, or everything is well."))
    yield from item("1", r"What was asked for could not be done; of \fBdoctor\fR: something is odd.")
    yield from item("2", r"The command line or the configuration is wrong; of \fBdoctor\fR: something is broken.")
    yield from (
        ".SH FILES",
        *item(r"\fI/etc/cortex/neuron.toml\fR, \fI~/.config/cortex/neuron.toml\fR", "see neuron.toml(5)"),
    )


def file_page(name: str) -> Iterator[str]:
    """Yield the page of one configuration file: its part of the reference, and what holds for all of them."""
    text = CONFIGURATION.read_text()
    preamble = text.partition("\n\n")[2].partition("\n## ")[0]
    section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    yield from _named(name, ABOUT[name])
    yield from (".SH DESCRIPTION", *from_markdown(preamble))
    yield from from_markdown(section.replace("\n#### ", "\n##### "))
    if name != "models.toml":
        yield from (".SH ENVIRONMENT", *_environment())


def _named(name: str, words: str) -> Iterator[str]:
    yield from (".SH NAME", rf"{escaped(name).replace('-', chr(92) + '-')} \- {words}")


def _statuses() -> Iterator[str]:
    yield from item("0", r"It was done. Of \fBstatus\fR and \fBdoctor\fR: everything is well.")
    yield from item("1", "It could not be done; one sentence on standard error says why.")
    yield from item("2", "The command line or the configuration is wrong.")
    yield ".PP"
    yield from lines(
        r"\fBstatus\fR and \fBdoctor\fR: 1 where something is degraded or odd, 2 where it is down or broken."
    )


def _environment() -> Iterator[str]:
    yield from from_markdown(CONFIGURATION.read_text().partition("\n## Variables that are no setting\n")[2])


def _sentence(text: str | None) -> str:
    words = " ".join((text or "").split())
    words = words[:1].upper() + words[1:]
    return words if not words or words.endswith((".", "?", "!")) else f"{words}."


def main() -> None:
    """Write the pages into a directory."""
    into = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name, text in pages().items():
        (into / name).write_text(text)


if __name__ == "__main__":
    main()

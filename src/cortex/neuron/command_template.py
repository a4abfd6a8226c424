"""The command of an engine as an operator writes it down: words with ``${NAME}`` in them, filled in for each launch.

There is no shell: a string is split like a shell would, and nothing else of one is understood. A list within the list
is left out when one of its variables has no value. A value is never split, and never filled in itself.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Words = tuple[str | tuple[str, ...], ...]
"""A command: words, and groups of words that stand or fall together."""

VARIABLES: Mapping[str, str] = {
    "PORT": "the port to listen on",
    "HOST": "the address to listen on",
    "MODEL_PATH": "the model's file or folder, or its repository on Hugging Face",
    "MODEL_ID": "the model's id",
    "DEVICES": "the numbers of its devices among their kind, with commas",
    "DEVICE_COUNT": "how many devices it has",
    "PARALLEL": "requests at a time",
    "CONTEXT": "tokens for one request, where the load says so",
    "QUANT": "the quantisation, where the load says so",
    "MMPROJ": "the projector file, where the load says so",
    "VRAM_MB": "what it may use, in MiB over all devices",
    "MEMORY_FRACTION": "its share of a device's whole memory, 0 to 1; no value on a CPU",
    "FREE_MEMORY_FRACTION": "nine tenths of its share, of what a device has free now; no value on a CPU",
    "KEY": "a key that only this generation asks for",
    "PREFIX": "a path that only this generation answers below",
}
"""What can be filled in."""

OPTIONAL = frozenset({"CONTEXT", "QUANT", "MMPROJ", "MEMORY_FRACTION", "FREE_MEMORY_FRACTION"})
"""Those that a launch may have no value for."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_SHELL_WORDS = frozenset({"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", "&>"})


class Template(NamedTuple):
    """A command that can be filled in, and the variables of the environment with it."""

    words: Words
    env: Mapping[str, str]

    @property
    def variables(self) -> frozenset[str]:
        """What it asks to be filled in."""
        words = [word for part in self.words for word in _group(part)]
        return _names((*words, *self.env.values()))

    def needed(self) -> frozenset[str]:
        """Return the variables that must have a value: those outside groups."""
        return _names((*(word for word in self.words if isinstance(word, str)), *self.env.values()))

    def fill(self, values: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the words and the environment of one launch; ``values`` has all that are needed."""
        words: list[str] = []
        for part in self.words:
            group = _group(part)
            if isinstance(part, str) or _names(group) <= set(values):
                words += (_filled(word, values) for word in group)
        return tuple(words), {name: _filled(text, values) for name, text in self.env.items()}


def read_command(cmd: str | Words) -> Words:
    """Return the words of a ``cmd``. Raises: ValueError that says what is wrong."""
    words: Words = tuple(shlex.split(cmd)) if isinstance(cmd, str) else cmd
    if not words or not isinstance(words[0], str) or not words[0]:
        raise ValueError("expected a program and its arguments")
    shell = next((word for word in words if word in _SHELL_WORDS), None)
    if isinstance(cmd, str) and shell is not None:
        raise ValueError(f"there is no shell that would understand '{shell}'; put what needs one into a script")
    if isinstance(cmd, str) and re.match(r"\w+=", words[0]):
        raise ValueError(f"there is no shell that would understand '{words[0]}'; variables go into `env`")
    return words


def unknown_variables(template: Template) -> list[str]:
    """Return what is asked to be filled in and cannot be."""
    return sorted(template.variables - set(VARIABLES))


def _group(part: str | tuple[str, ...]) -> tuple[str, ...]:
    return (part,) if isinstance(part, str) else part


def _names(words: Iterable[str]) -> frozenset[str]:
    return frozenset(name for word in words for name in _VARIABLE.findall(word))


def _filled(word: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: values[found[1]], word)

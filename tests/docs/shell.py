"""A command line taken apart as far as needed: which programs it calls, with which words."""

import re
import shlex
from collections.abc import Iterator

JOINTS = {"|", "||", "&&", ";", "&", "(", ")", ";;", "|&"}
LEADING = {"do", "then", "else", "if", "while", "until", "!", "{", "}", "done", "fi", "time", "exec"}
SWITCHED = {"-u", "-g", "-E", "-H", "-n", "-i"}
"""Of sudo."""

ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n.*?^\s*\2$", re.MULTILINE | re.DOTALL)
REDIRECTION = re.compile(r"^\d*[<>]")


def calls(text: str) -> Iterator[list[str]]:
    """Yield program and words of every call, what is redirected and assigned left out; sudo is left out, too."""
    lexer = shlex.shlex(HEREDOC.sub("", text).replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.whitespace = " \t"
    words: list[str] = []
    tokens = iter(lexer)
    for token in tokens:
        if token in JOINTS or token == "\n" or set(token) <= set("();|&"):
            yield from _call(words)
            words = []
        elif REDIRECTION.match(token) and set(token) <= set("<>&0123456789"):
            next(tokens, None)  # to or from where
        else:
            words.append(token)
    yield from _call(words)


def _call(words: list[str]) -> Iterator[list[str]]:
    rest = [word for part in words for word in part.split("\n")] if any("\n" in word for word in words[:1]) else words
    while rest and (rest[0] in LEADING or ASSIGNMENT.match(rest[0]) or rest[0] in ("for", "export")):
        if rest[0] in ("for", "export"):
            return
        rest = rest[1:]
    if rest[:1] == ["sudo"]:
        rest = rest[1:]
        while rest and (rest[0] in SWITCHED or rest[0].startswith("--")):
            rest = rest[2 if rest[0] in ("-u", "-g") else 1 :]
        while rest and ASSIGNMENT.match(rest[0]):
            rest = rest[1:]
    if rest:
        yield rest

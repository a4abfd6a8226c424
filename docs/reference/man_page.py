"""Our own manual pages of commands as Markdown: the macros and signs that packaging/man/build.py writes, no others."""

import re
from collections.abc import Iterator

LEFT_OUT = {"NAME", "SYNOPSIS", "SEE ALSO", "FILES"}
FONTS = re.compile(r"\\f([BI])(.*?)\\fR")


def markdown(page: str) -> Iterator[str]:
    """Yield the lines of a page: its commands as headings, its options as tables."""
    title = re.search(r'^\.TH "([^"]+)"', page, re.MULTILINE)
    assert title is not None
    name = title[1].lower()
    yield from (f"## {name}", "")
    for head, body in re.findall(r'^\.SH "?(.*?)"?\n(.*?)(?=^\.SH |\Z)', page, re.MULTILINE | re.DOTALL):
        if head in LEFT_OUT:
            continue
        if head not in ("DESCRIPTION", "OPTIONS", "COMMANDS"):
            yield from (f"### {name}: {head.lower()}" if head.split()[0] != name.upper() else f"### {head.lower()}", "")
        for command, part in re.findall(r'(?:^\.SS "(.*?)"\n|\A)(.*?)(?=^\.SS |\Z)', body, re.MULTILINE | re.DOTALL):
            if command:
                yield from (f"### {command}", "")
            yield from _part(part)


def _part(text: str) -> Iterator[str]:
    """Yield paragraphs, then a table of what is a list in the manual."""
    before, *items = re.split(r"^\.TP\n", text, flags=re.MULTILINE)
    for paragraph in re.split(r"^\.PP\n", before, flags=re.MULTILINE):
        if paragraph.strip():
            yield from (_plain(paragraph), "")
    if items:
        yield from ("| | |", "|---|---|")
        for item in items:
            term, _, said = item.partition("\n")
            yield f"| {_cell(term)} | {_cell(said)} |"
        yield ""


def _cell(text: str) -> str:
    return _plain(text.replace(".IP\n", "")).replace("|", "\\|")


def _plain(text: str) -> str:
    """Return running text in one line, with what is to be typed as code."""
    line = " ".join(text.replace("\\&", "").split()).replace("\\-", "-")
    line = FONTS.sub(lambda font: f"`{font[2]}`" if font[1] == "B" else f"*{font[2]}*", line)
    return line.replace("` *", " ").replace("*", "`") if line.startswith("`-") else line.replace("\\e", "\\")

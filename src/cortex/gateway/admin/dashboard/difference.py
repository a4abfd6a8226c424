"""What of a page is otherwise than before: its parts one by one, where only some of them changed. Pure.

Parts are marked by who renders them (``Renderer.kept``); each is one element with an ``id``. Text of others cannot look
like a mark, because it is escaped.
"""

import re

BEGIN, END = "<!--part-->", "<!--/part-->"
_PART = re.compile(f"{BEGIN}(.*?){END}", re.DOTALL)
_ID = re.compile(r'\bid="([^"]*)"')


def marked(html: str) -> str:
    """Return one element as a part."""
    return f"{BEGIN}{html.strip()}{END}"


def unmarked(html: str) -> str:
    """Return a page as browsers get it whole."""
    return html.replace(BEGIN, "").replace(END, "")


def difference(before: str, now: str) -> str | None:
    """Return the parts that are otherwise, each to be put in the place of the one of its id; empty when none is.

    None: more than parts is otherwise, so the page has to be sent whole.
    """
    old, new = _PART.split(before), _PART.split(now)
    if len(old) == 1 or old[0::2] != new[0::2]:
        return None
    changed = []
    for one, other in zip(old[1::2], new[1::2], strict=True):
        is_named, was_named = _ID.search(other), _ID.search(one)
        if is_named is None or was_named is None or is_named[1] != was_named[1]:
            return None
        if one != other:
            changed.append(f'<hx-partial id="{is_named[1]}" hx-swap="outerMorph">{other}</hx-partial>')
    return "\n".join(changed)

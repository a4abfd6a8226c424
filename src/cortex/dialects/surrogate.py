"""Joins characters that an engine has cut in two between chunks: half a surrogate pair, or some of UTF-8's bytes.

Bytes that are no UTF-8 arrive as ``surrogateescape`` has them. Each text has a joint of its own. What stays half for
good becomes U+FFFD; nothing ill-formed ever leaves.
"""

import re

_ILL_FORMED = re.compile("[\ud800-\udfff]")
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_CUT = re.compile("(?:[\ud800-\udbff]|[\udcc2-\udcf4][\udc80-\udcbf]{0,2})\\Z")
"""The start of a character at the end of a text."""


class Joint:
    """Whole characters out of pieces of one text."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""

    def take(self, piece: str) -> str:
        """Add a piece; return what is whole by now."""
        text = self.held + piece
        if not _ILL_FORMED.search(text):
            self.held = ""
            return text
        text = _paired(text)
        cut = _CUT.search(text)
        self.held = text[cut.start() :] if cut else ""
        return _replaced(text[: cut.start()] if cut else text)

    def end(self) -> str:
        """Return what is left."""
        rest, self.held = self.held, ""
        return _replaced(rest)


def well_formed(text: str) -> str:
    """Return a whole text with halves joined, and U+FFFD where there is only one."""
    return _replaced(_paired(text)) if _ILL_FORMED.search(text) else text


def _paired(text: str) -> str:
    """Join surrogates, then bytes; halves stay as they are, but for one in the middle that cannot be a byte's."""
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    last = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    body = _NO_BYTE.sub("\ufffd", text[: len(text) - len(last)])
    return body.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") + last


def _replaced(text: str) -> str:
    return _NO_BYTE.sub("\ufffd", text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")

"""Makes the arguments of a tool call a JSON object, or says that they are none.

Only repairs that cannot change what is called: nothing for no arguments, JSON within JSON, a fence of code around it,
words after it, raw control characters in strings. A string or an object that was cut is never closed: ``rm -rf /data``
is what closing makes of a cut ``rm -rf /data/tmp`` (measured 2026-11: a client executes it).
"""

import json
import re

import msgspec

_decode = msgspec.json.decode
_scan = json.JSONDecoder(strict=False).raw_decode
_FENCED = re.compile(r"```\w*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


def repaired_arguments(text: str) -> str | None:
    """Return the text of a JSON object; None when the arguments are none and cannot safely be made one."""
    text = text.strip()
    if not text:
        return "{}"
    try:
        found = _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _without_surroundings(text)
    if isinstance(found, dict):
        return text
    if isinstance(found, str):
        return repaired_arguments(found)
    return "{}" if found is None else None


def may_be_whole(text: str) -> bool:
    """Tell cheaply whether arguments that arrive in pieces could be complete: what is False is not."""
    end = text.rstrip()[-1:]
    return end != "" and end in '}"`'


def _without_surroundings(text: str) -> str | None:
    fenced = _FENCED.match(text)
    if fenced:
        return repaired_arguments(fenced[1])
    if text[0] not in '{"':
        return None
    try:
        found, end = _scan(text)
    except (ValueError, RecursionError):
        return None
    rest = text[end:].strip()
    # Another object may be another call, and which of the two was meant nobody knows; the same one again is a repeat.
    if "{" in rest.replace(text[:end], ""):
        return None
    if isinstance(found, str):
        return repaired_arguments(found)
    try:
        return json.dumps(found, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        return None

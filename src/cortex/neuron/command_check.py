"""What a load may say to a server that is started by a command: nothing that the command has no place for.

Words of a load end up on a command line, where one that begins with a dash would be a flag. Flags are allowed by name,
not forbidden: what a foreign program's flags can do, now or in its next version, nobody knows.
"""

import re
from collections.abc import Collection, Iterator

from cortex.contract.error import MalformedRequest
from cortex.contract.instance import LoadRequest

_NUMBER = re.compile(r"-\d[\d.eE+-]*")


def check_words(request: LoadRequest, asked: Collection[str], harness: str, quants: Collection[str]) -> None:
    """Check what is filled in. ``asked``: the command's variables; ``quants``: those on offer, none: any.

    Raises: MalformedRequest.
    """
    for field, text in _texts(request):
        if "\0" in text or text.startswith("-"):
            raise MalformedRequest(f"{field}: expected words that do not begin with a dash, got {text!r}", field=field)
    places = {"context": "CONTEXT", "quant": "QUANT", "mmproj": "MMPROJ"}
    for field, variable in places.items():
        if getattr(request, field) is not None and variable not in asked:
            raise MalformedRequest(
                f"{field}: the command of harness '{harness}' has no ${{{variable}}}: leave it out, or add it there",
                field=field,
            )
    if request.quant is not None and quants and request.quant not in quants:
        raise MalformedRequest(
            f"quant: harness '{harness}' does not offer {request.quant}; it offers: {', '.join(quants)}",
            field="quant",
        )


def check_args(args: Collection[str], allowed: Collection[str], harness: str) -> None:
    """Raise MalformedRequest for an argument that no load may give."""
    for word in args:
        if "\0" in word:
            raise MalformedRequest("args: expected words without zero bytes", field="args")
        if word.startswith("-") and not _NUMBER.fullmatch(word) and word.partition("=")[0] not in allowed:
            offered = f"; loads may give: {', '.join(sorted(allowed))}" if allowed else ""
            raise MalformedRequest(
                f"args: {word.partition('=')[0]} cannot be given to harness '{harness}' by a load{offered}; "
                "the entry's own `args` can have it, or its `allow_args` let loads give it",
                field="args",
            )


def _texts(request: LoadRequest) -> Iterator[tuple[str, str]]:
    for field in ("model_id", "source", "quant", "mmproj"):
        text = getattr(request, field)
        if text is not None:
            yield field, text

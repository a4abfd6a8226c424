"""What can be said to a request that waits: what its model is at, and how far. What is not known is left out.

Says it in words, for a comment in a stream or a sentence, and in fields. Estimates nothing.
"""

from typing import Literal

import msgspec

OutlookState = Literal["loading", "queued", "making_room", "starting"]
"""loading: its engine is; starting: the node was asked, and says nothing of it yet; making_room: others have to leave
first; queued: requests or models are before it."""

_WORDS = {
    "loading": "loading",
    "queued": "queued",
    "making_room": "making room",
    "starting": "starting",
}


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """The outlook of one request. ``progress`` is 0 to 1; ``position``: how many requests are before it."""

    state: OutlookState
    node: str = ""
    progress: float | None = None
    eta_s: float | None = None
    position: int | None = None


def in_words(outlook: Outlook) -> str:
    """Return it as in ``loading on beast, 40 %, about 30 s``: one line, without anything that is not known."""
    words = [f"{_WORDS[outlook.state]} on {outlook.node}" if outlook.node else _WORDS[outlook.state]]
    if outlook.progress is not None:
        words.append(f"{int(outlook.progress * 100)} %")
    if outlook.eta_s is not None:
        words.append(f"about {outlook.eta_s:.0f} s")
    if outlook.position is not None:
        words.append(f"{outlook.position} before it" if outlook.position else "next")
    return ", ".join(words)


def details_of(outlook: Outlook) -> dict[str, object]:
    """Return it for the ``details`` of an error."""
    details: dict[str, object] = {"state": outlook.state}
    if outlook.node:
        details["node"] = outlook.node
    if outlook.progress is not None:
        details["progress"] = round(outlook.progress, 3)
    if outlook.eta_s is not None:
        details["eta_s"] = round(outlook.eta_s, 1)
    if outlook.position is not None:
        details["position"] = outlook.position
    return details

"""What those who wait are told: all that is known, and nothing else."""

import pytest

from cortex.fleet.outlook import Outlook, details_of, in_words


@pytest.mark.parametrize(
    ("outlook", "words"),
    [
        (Outlook(state="queued"), "queued"),
        (Outlook(state="queued", position=0), "queued, next"),
        (Outlook(state="queued", position=3), "queued, 3 before it"),
        (Outlook(state="loading", node="beast"), "loading on beast"),
        (Outlook(state="loading", node="beast", progress=0.0), "loading on beast, 0 %"),
        (Outlook(state="loading", node="beast", progress=0.409, eta_s=29.6), "loading on beast, 40 %, about 30 s"),
        (Outlook(state="making_room", node="beast"), "making room on beast"),
        (Outlook(state="starting", node="beast", eta_s=0.2), "starting on beast, about 0 s"),
    ],
)
def test_the_words_have_what_is_known(outlook: Outlook, words: str) -> None:
    assert in_words(outlook) == words


def test_the_details_have_what_is_known() -> None:
    assert details_of(Outlook(state="queued")) == {"state": "queued"}
    whole = Outlook(state="loading", node="a", progress=0.40004, eta_s=12.34, position=0)
    assert details_of(whole) == {"state": "loading", "node": "a", "progress": 0.4, "eta_s": 12.3, "position": 0}

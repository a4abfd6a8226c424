"""The colours of the dashboard: what is to be read can be read, in both themes."""

import re

import pytest

from cortex.gateway.admin.dashboard.static_file import FOLDER

TEXT = 4.5
SIGN = 3.0
"""WCAG 2.2, 1.4.3 and 1.4.11: the least contrast of text, and of what is no text."""

PAIRS = [
    *[(text, ground, TEXT) for text in ("text", "soft", "accent", "bad") for ground in ("ground", "card")],
    *[("soft", "raised", TEXT), ("text", "raised", TEXT), ("on-accent", "accent", TEXT)],
    *[(name, f"{name}-ground", TEXT) for name in ("good", "warn", "bad", "busy")],
    *[(f"hue-{number}", "card", SIGN) for number in range(8)],
    *[("strangers", "card", SIGN), ("accent", "card", SIGN)],
]
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", (FOLDER / "dashboard.css").read_text()
    )
}


def luminance(colour: str) -> float:
    """Return the relative luminance. Source: WCAG 2.2."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS, ids=lambda one: str(one))
def test_what_is_to_be_seen_stands_out(front: str, back: str, least: float, theme: int) -> None:
    found = contrast(COLOURS[front][theme], COLOURS[back][theme])
    assert found >= least, f"{front} on {back} has {found:.2f}"


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_a_button_that_destroys_can_be_read(theme: int) -> None:
    assert contrast("#ffffff", COLOURS["danger"][theme]) >= TEXT

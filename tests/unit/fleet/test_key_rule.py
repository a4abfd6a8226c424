"""When a key holds, and for which models."""

import pytest

from cortex.contract.key import Key
from cortex.fleet.key_rule import may_ask, why_not_now


def key(*models: str, expires_s: float | None = None, revoked_s: float | None = None) -> Key:
    return Key(id="key_1", name="n", shown="ctx-1", models=models, expires_s=expires_s, revoked_s=revoked_s)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("coder", "coder", True),
        ("coder", "coder2", False),
        ("coder", "Coder", False),
        ("*", "", True),
        ("*", "org/any\nthing", True),
        ("org/*", "org/m", True),
        ("org/*", "organ/m", False),
        ("*-small", "qwen-small", True),
        ("*-small", "qwen-small-2", False),
        ("a*b*c", "a1b2c", True),
        ("a*b*c", "a1c2b", False),
        ("a*a", "a", False),
        ("ab*ba", "aba", False),
        ("a**b", "ab", True),
        ("m[12]", "m1", False),
        ("m[12]", "m[12]", True),
        ("m.?", "mxy", False),
    ],
)
def test_only_a_star_means_anything_but_itself(pattern: str, name: str, fits: bool) -> None:
    assert may_ask(key(pattern), [name]) is fits


def test_a_key_without_models_may_ask_for_all() -> None:
    assert may_ask(key(), ["anything"])


def test_any_name_of_a_model_is_enough() -> None:
    restricted = key("other", "coder")
    assert may_ask(restricted, ["Qwen/Qwen3-0.6B", "coder"])
    assert not may_ask(restricted, ["Qwen/Qwen3-0.6B"])
    assert not may_ask(restricted, [])


def test_a_pattern_of_many_stars_takes_no_time_of_its_own() -> None:
    assert not may_ask(key("*a" * 50 + "b"), ["a" * 100_000])


def test_a_key_holds_until_it_expires_and_never_once_it_is_revoked() -> None:
    assert why_not_now(key(), 1e12) is None
    assert why_not_now(key(expires_s=100.0), 99.9) is None
    assert why_not_now(key(expires_s=100.0), 100.0) == "has expired"
    assert why_not_now(key(expires_s=100.0, revoked_s=5.0), 1.0) == "was revoked"

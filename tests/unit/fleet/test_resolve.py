"""Names of models."""

from difflib import get_close_matches

import pytest
from tests.unit.fleet.builder import a_profile

from cortex.fleet import resolve
from cortex.fleet.resolve import MAX_COMPARED, describe_unknown, describe_unknown_node, name_table


def test_exact_id_wins_over_alias_and_alias_over_found_model() -> None:
    profiles = [a_profile("m", aliases=("x", "n")), a_profile("n", aliases=("y",))]
    table = name_table(profiles, ["x", "y", "z", "m"])
    assert table == {"m": "m", "n": "n", "x": "m", "y": "n", "z": "z"}


def test_of_two_models_with_one_alias_the_first_has_it() -> None:
    assert name_table([a_profile("m", aliases=("x",)), a_profile("n", aliases=("x",))], [])["x"] == "m"


def test_near_names_are_offered_without_regard_to_case() -> None:
    table = name_table([a_profile("Qwen/Qwen3-VL-8B", aliases=("vision",))], [])
    assert describe_unknown("qwen/qwen3-vl-8b", table) == (
        "No model named 'qwen/qwen3-vl-8b' is known; did you mean 'Qwen/Qwen3-VL-8B'? GET /v1/models lists the ids."
    )
    assert "did you mean 'vision'?" in describe_unknown("visoin", table)


def test_of_many_names_only_some_of_nearly_that_length_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def noted(word: str, among: list[str], n: int, cutoff: float) -> list[str]:
        compared.extend(among)
        return get_close_matches(word, among, n=n, cutoff=cutoff)

    monkeypatch.setattr(resolve, "get_close_matches", noted)
    table = {name: name for name in (*(f"org/other-model-{i}" for i in range(1000)), "vision")}
    assert "did you mean 'vision'?" in describe_unknown("visoin", table)
    assert len(compared) == MAX_COMPARED


def test_without_a_near_name_a_few_ids_are_listed_and_the_rest_counted() -> None:
    table = name_table([a_profile(f"org/model-{i}") for i in range(11)], [])
    message = describe_unknown("zzz", table)
    assert message.startswith("No model named 'zzz' is known. GET /v1/models lists: org/model-0, org/model-1, ")
    assert message.endswith(" and 3 more.")
    assert describe_unknown("zzz", {"a": "a"}).endswith("GET /v1/models lists: a.")


def test_empty_fleet_says_that_there_is_nothing() -> None:
    assert describe_unknown("m", {}) == (
        "No model named 'm' is known: the catalogue is empty and no node reports any model."
    )


def test_an_unknown_node_is_told_with_the_nearest_or_with_all_of_a_few() -> None:
    assert describe_unknown_node("beats", ["beast", "benjy"]) == "No node 'beats' is configured; did you mean 'beast'?"
    assert describe_unknown_node("x", ["b", "a"]) == "No node 'x' is configured; there are: a, b."
    assert describe_unknown_node("x", []).endswith("there are: none.")
    assert describe_unknown_node("zz", [f"node-{number:02}" for number in range(10)]).endswith("node-07 and 2 more.")

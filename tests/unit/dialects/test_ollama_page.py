"""What Ollama's clients read about models."""

import pytest

from cortex.contract.error import MalformedRequest, ModelMissing
from cortex.dialects.ollama_name import name_candidates
from cortex.dialects.ollama_page import (
    capabilities_of,
    find_entry,
    ps_page,
    show_page,
    shown_name,
    tags_page,
    version_page,
)

WHEN = "2026-11-26T10:00:00Z"


def an_entry(name: str, **members: object) -> dict[str, object]:
    nodes = [{"node": "beast", "status": "loaded", "devices": ["cuda:0"]}]
    common = {"context": 8192, "aliases": [], "capabilities": [], "harness": "llamacpp"}
    return {"id": name, "status": "loaded", "nodes": nodes, **common, **members}


QWEN = an_entry("Qwen/Qwen3-8B", aliases=["qwen"], capabilities=["tools"])
COLD = an_entry("cold", status="unloaded", nodes=[], context=None)


def test_tags_have_every_model_with_the_members_that_typed_clients_insist_on() -> None:
    models = tags_page([QWEN, COLD], WHEN)["models"]
    assert isinstance(models, list)
    assert [(model["name"], model["model"], model["status"]) for model in models] == [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B", "loaded"),
        ("cold", "cold", "unloaded"),
    ]
    assert models[0]["modified_at"] == WHEN
    assert set(models[0]["details"]) == {
        "parent_model",
        "format",
        "family",
        "families",
        "parameter_size",
        "quantization_level",
    }
    assert len(models[0]["digest"]) == 64
    assert models[0]["digest"] != models[1]["digest"]
    assert models[0]["size"] == 0


def test_ps_has_those_that_are_loaded() -> None:
    models = ps_page([QWEN, COLD])["models"]
    assert isinstance(models, list)
    assert [(model["name"], model["context_length"], model["expires_at"]) for model in models] == [
        ("Qwen/Qwen3-8B", 8192, "9999-12-31T23:59:59Z")
    ]


def test_show_has_the_context_where_clients_look_for_it() -> None:
    page = show_page(QWEN, WHEN)
    info = page["model_info"]
    assert isinstance(info, dict)
    assert info[f"{info['general.architecture']}.context_length"] == 8192
    assert page["capabilities"] == ["completion", "tools"]
    assert page["parameters"] == "num_ctx 8192"


def test_what_is_not_known_is_not_shown() -> None:
    page = show_page(COLD, WHEN)
    info = page["model_info"]
    assert isinstance(info, dict)
    assert not any("context_length" in key for key in info)
    assert page["parameters"] == ""


@pytest.mark.parametrize(
    ("words", "own"),
    [
        ([], ["completion"]),
        (["chat", "tools", "vision"], ["completion", "tools", "vision"]),
        (["embeddings"], ["embedding"]),
        (["Reasoning", "function_calling"], ["completion", "thinking", "tools"]),
        (["tools", "tool"], ["completion", "tools"]),
        (None, ["completion"]),
    ],
)
def test_capabilities_are_in_ollamas_words(words: object, own: list[str]) -> None:
    assert capabilities_of(an_entry("m", capabilities=words)) == own


def test_the_version_is_one_that_clients_take() -> None:
    page = version_page("1.2.3")
    assert page["cortex"] == "1.2.3"
    assert [int(part) for part in str(page["version"]).split(".")] >= [0, 14, 0]


@pytest.mark.parametrize(
    ("body", "name"),
    [(b'{"model":"a"}', "a"), (b'{"name":"b"}', "b"), (b'{"model":"","name":"b","x":1}', "b")],
)
def test_show_is_asked_by_either_word(body: bytes, name: str) -> None:
    assert shown_name(body) == name


def test_show_without_a_name_is_refused() -> None:
    with pytest.raises(ModelMissing):
        shown_name(b"{}")
    with pytest.raises(MalformedRequest):
        shown_name(b'{"model":[]}')


@pytest.mark.parametrize(
    ("name", "found"),
    [("Qwen/Qwen3-8B", QWEN), ("Qwen/Qwen3-8B:latest", QWEN), ("qwen", QWEN), ("qwen:latest", QWEN), ("nope", None)],
)
def test_a_model_is_found_by_id_or_alias_with_or_without_latest(name: str, found: object) -> None:
    assert find_entry(iter([COLD, QWEN]), name) is found


def test_an_exact_name_goes_before_one_without_latest() -> None:
    exact = an_entry("qwen:latest")
    assert find_entry([QWEN, exact], "qwen:latest") is exact


@pytest.mark.parametrize(
    ("name", "names"),
    [("a", ("a",)), ("a:latest", ("a:latest", "a")), ("a:8b", ("a:8b",)), (":latest", (":latest",)), ("", ("",))],
)
def test_only_the_tag_latest_is_taken_off(name: str, names: tuple[str, ...]) -> None:
    assert name_candidates(name) == names

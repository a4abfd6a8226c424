"""The core of a mistral.rs server as it is: where a model is, and which mistakes stay."""

import pytest

from cortex.testing.mistralrs_table import ModelTable, NotServed


def reloaded(table: ModelTable, name: str, *, well: bool = True) -> None:
    assert table.begin_reload(name) is None
    table.end_reload(name, well)


def test_a_model_goes_out_and_comes_in_again() -> None:
    table = ModelTable(["a", "b"])
    assert [table.unload("a"), table.unload("a"), table.unload("c")] == ["unloaded", "unloaded", "not_found"]
    assert table.entries() == [("b", "loaded"), ("a", "unloaded")]
    reloaded(table, "a")
    assert table.status("a") == "loaded"


def test_a_load_that_fails_leaves_the_model_unloaded() -> None:
    table = ModelTable(["a"])
    table.unload("a")
    reloaded(table, "a", well=False)
    assert (table.status("a"), table.reloading) == ("unloaded", [])


def test_a_reload_of_what_is_loaded_marks_it_for_ever() -> None:
    table = ModelTable(["a"])
    assert [table.begin_reload("a"), table.begin_reload("a")] == ["not_found", "reloading"]
    assert table.entries() == [("a", "reloading"), ("a", "loaded")]
    assert table.status("a") == "reloading"
    assert table.engine_for("a") == "a", "it still serves"
    table.unload("a")
    assert table.entries() == [("a", "reloading")]
    assert table.begin_reload("a") == "reloading", "and never comes back"


def test_an_invented_name_becomes_known() -> None:
    table = ModelTable(["a"])
    assert not table.knows("nope")
    table.begin_reload("nope")
    assert table.knows("nope")
    with pytest.raises(NotServed, match="`nope` is being reloaded"):
        table.engine_for("nope")


def test_the_default_moves_and_is_never_filled_again() -> None:
    table = ModelTable(["a", "b"])
    assert table.engine_for(None) == "a"
    table.unload("a")
    assert table.engine_for("default") == "b"
    table.unload("b")
    reloaded(table, "a")
    with pytest.raises(NotServed, match="engine state lock is poisoned"):
        table.engine_for("default")
    assert table.engine_for("a") == "a"


def test_a_request_for_an_unloaded_model_has_to_load_it() -> None:
    table = ModelTable(["a"])
    table.unload("a")
    assert table.engine_for("a") is None


def test_without_its_loader_a_model_stays() -> None:
    table = ModelTable(["a"], without_loader=["a"])
    assert table.unload("a") == "no_loader_config"
    assert table.status("a") == "loaded"

"""The embedded engine reads llama-server's command line as llama-server does."""

import pytest

from cortex.neuron.embedded.argument import AUTO_SLOTS, parse
from cortex.neuron.embedded.flag import Member


def refusal(capsys, *argv, env=()):
    with pytest.raises(SystemExit) as stop:
        parse(argv, dict(env))
    return stop.value.code, capsys.readouterr().err.strip()


def test_defaults_are_those_of_llama_server():
    setting = parse(["-m", "x.gguf"], {})
    assert setting["port"] == 8080
    assert setting["hostnames"] == ["127.0.0.1"]
    assert (setting["n_parallel"], setting["kv_unified"]) == (AUTO_SLOTS, True)


def test_a_given_number_of_slots_does_not_share_one_pool():
    setting = parse(["-m", "x.gguf", "--parallel", "2"], {})
    assert setting["n_parallel"] == 2
    assert "kv_unified" not in setting


def test_a_flag_wins_over_its_environment_variable():
    env = {"LLAMA_ARG_PORT": "1", "LLAMA_ARG_CTX_SIZE": "512"}
    setting = parse(["-m", "x.gguf", "--port", "2"], env)
    assert (setting["port"], setting["n_ctx"]) == (2, 512)


def test_the_last_of_two_equal_flags_wins():
    assert parse(["-m", "x.gguf", "--cache-ram", "0", "--cache-ram", "64"], {})["cache_ram_mib"] == 64


@pytest.mark.parametrize("word", ["0", "false", "off", "disabled"])
def test_an_environment_variable_can_turn_a_toggle_off(word):
    assert parse(["-m", "x.gguf"], {"LLAMA_ARG_ENDPOINT_SLOTS": word})["endpoint_slots"] is False


def test_a_word_that_is_no_boolean_in_the_environment_ends_the_process(capsys):
    code, words = refusal(capsys, "-m", "x.gguf", env={"LLAMA_ARG_ENDPOINT_METRICS": "maybe"}.items())
    assert (code, words) == (1, "error: invalid argument: LLAMA_ARG_ENDPOINT_METRICS=maybe")


def test_an_unknown_flag_ends_the_process_with_llama_servers_words(capsys):
    assert refusal(capsys, "-m", "x.gguf", "--moonshine") == (1, "error: invalid argument: --moonshine")


def test_an_abbreviated_flag_is_unknown(capsys):
    code, words = refusal(capsys, "-m", "x.gguf", "--metric")
    assert (code, words) == (1, "error: invalid argument: --metric")


def test_a_wrong_value_names_the_flag_and_the_value(capsys):
    code, words = refusal(capsys, "-m", "x.gguf", "--ctx-size", "many")
    assert code == 1
    assert "--ctx-size" in words
    assert "'many'" in words


def test_without_a_model_it_says_that_it_is_no_router(capsys):
    code, words = refusal(capsys)
    assert code == 1
    assert "--model is missing" in words


def test_reranking_turns_on_embeddings_with_rank_pooling():
    setting = parse(["-m", "x.gguf", "--reranking"], {})
    assert setting["embedding"] is True
    assert setting["pooling_type"] == Member("llama_pooling_type", "LLAMA_POOLING_TYPE_RANK")
    assert "reranking" not in setting


def test_one_timeout_sets_reading_and_writing():
    setting = parse(["-m", "x.gguf", "--timeout", "7"], {})
    assert (setting["timeout_read"], setting["timeout_write"]) == (7, 7)


def test_threads_hold_for_batches_unless_said_otherwise():
    assert parse(["-m", "x.gguf", "-t", "3"], {})["cpuparams_batch.n_threads"] == 3
    assert parse(["-m", "x.gguf", "-t", "3", "-tb", "5"], {})["cpuparams_batch.n_threads"] == 5


def test_the_version_names_the_wheel(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["--version"], {})
    assert stop.value.code == 0
    assert capsys.readouterr().err.startswith("version: embedded (xllamacpp 20")  # llama-server prints it there too

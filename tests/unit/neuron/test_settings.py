"""``neuron.toml``: the mission's example loads as written, and every mistake is told with file, key and reason."""

import pytest

from cortex.contract.error import ConfigError
from cortex.neuron.settings import NeuronSettings, load_neuron_settings

MISSION = """
port = 9090
[[harnesses]]
name = "mistralrs"
endpoint = "http://localhost:8080"
systemd_unit = "mistralrs.service"

[[harnesses]]
name = "llamacpp"
binary = "/usr/local/bin/llama-server"
port_range = [8100, 8199]
"""


def load(tmp_path, text, **env):
    path = tmp_path / "neuron.toml"
    path.write_text(text)
    return load_neuron_settings(path, env)


def test_the_missions_example_loads_as_written(tmp_path):
    settings = load(tmp_path, MISSION)
    mistralrs, llamacpp = settings.harnesses
    assert (settings.port, settings.host, settings.keep_engines) == (9090, "0.0.0.0", True)
    assert (mistralrs.kind, mistralrs.endpoint, mistralrs.systemd_unit, mistralrs.mode) == (
        "mistralrs",
        "http://localhost:8080",
        "mistralrs.service",
        "shared",
    )
    assert (llamacpp.binary, llamacpp.port_range) == ("/usr/local/bin/llama-server", (8100, 8199))


def test_a_command_is_text_or_a_list_with_lists_in_it(tmp_path):
    text = '[[harnesses]]\nname = "a"\ncmd = "serve ${PORT}"\n[[harnesses]]\nname = "b"\ncmd = ["serve", ["-c", "1"]]\n'
    assert [entry.cmd for entry in load(tmp_path, text).harnesses] == ["serve ${PORT}", ("serve", ("-c", "1"))]


def test_without_a_file_the_defaults_hold():
    assert load_neuron_settings(None, {}) == NeuronSettings()


def test_two_entries_of_one_kind_have_names_of_their_own(tmp_path):
    text = '[[harnesses]]\nname = "a"\nkind = "openai"\n[[harnesses]]\nname = "b"\nkind = "openai"\n'
    assert [(entry.name, entry.kind) for entry in load(tmp_path, text).harnesses] == [("a", "openai"), ("b", "openai")]


def test_the_environment_wins_over_the_file(tmp_path):
    settings = load(tmp_path, MISSION, CORTEX_NEURON_PORT="0", CORTEX_NEURON_MODEL_DIRS='["/models"]')
    assert (settings.port, settings.model_dirs) == (0, ("/models",))


def test_a_certificate_may_come_as_credentials_of_the_unit(tmp_path):
    for name in ("cortex.tls-cert", "cortex.tls-key"):
        (tmp_path / name).write_text("PEM")
    settings = load(tmp_path, MISSION, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert (settings.tls_cert, settings.tls_key) == (f"{tmp_path}/cortex.tls-cert", f"{tmp_path}/cortex.tls-key")
    assert load(tmp_path, MISSION).tls_cert is None


def test_relative_paths_start_at_the_file_and_a_tilde_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/op")
    settings = load(tmp_path, 'model_dirs = ["m", "~/n", "/o"]\nstate_dir = "s"\ntoken_file = "t"')
    assert settings.model_dirs == (str(tmp_path / "m"), "/home/op/n", "/o")
    assert (settings.state_dir, settings.token_file) == (str(tmp_path / "s"), str(tmp_path / "t"))
    trace = load(tmp_path, '[trace]\nheaders_file = "h"', CORTEX_NEURON_TRACE__ENDPOINT="http://x:4318").trace
    assert (trace.endpoint, trace.headers_file) == ("http://x:4318", str(tmp_path / "h"))


@pytest.mark.parametrize("host", ["gpu1.example.internal", "10.0.0.7", "fd00::7"])
def test_an_advertised_host_is_a_name_or_an_address(tmp_path, host):
    assert load(tmp_path, f'advertise_host = "{host}"').advertise_host == host


def test_an_endpoint_keeps_no_closing_slash(tmp_path):
    settings = load(tmp_path, '[[harnesses]]\nname = "x"\nendpoint = "http://[::1]:8080/v1/"')
    assert settings.harnesses[0].endpoint == "http://[::1]:8080/v1"


def test_a_key_lies_where_the_file_says_and_endpoints_are_checked_like_one(tmp_path):
    text = '[[harnesses]]\nname = "x"\nkey_file = "key"\nendpoints = ["http://a/v1/", "http://b"]'
    (entry,) = load(tmp_path, text).harnesses
    assert (entry.key_file, entry.endpoints) == (str(tmp_path / "key"), ("http://a/v1", "http://b"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "prot: unknown key; did you mean 'port'?"),
        ("port = 70000", "port: expected"),
        ("headroom_mb = -1", "headroom_mb: expected"),
        ("lease_ttl_s = inf", "lease_ttl_s: expected a number <= 1000000000.0"),
        ("drain_timeout_s = nan", "drain_timeout_s: expected a number >= 0.0"),
        ('[[harnesses]]\nname = "a b"', "harnesses[0].name: expected a name without spaces and slashes, got 'a b'"),
        ('[[harnesses]]\nname = "x"\nport_range = [9, 8]', "port_range: expected [first, last], got [9, 8]"),
        ('[[harnesses]]\nname = "x"\nport_range = [1]', "port_range"),
        ('[[harnesses]]\nname = "x"\nendpoint = "localhost:8080"', "endpoint: expected an http(s) URL"),
        ('[[harnesses]]\nname = "x"\nendpoint = "http://u:p@h"', "endpoint: expected an http(s) URL"),
        ('[[harnesses]]\nname = "x"\nendpoint = "http://[::1"', "endpoint: expected an http(s) URL"),
        ('[[harnesses]]\nname = "x"\n[[harnesses]]\nname = "x"', "expected each name once, got 'x' twice"),
        ('[[harnesses]]\nname = "x"\nendpoints = ["http://h", "h"]', "endpoints[1]: expected an http(s) URL"),
        (
            '[[harnesses]]\nname = "x"\nready_path = "health"',
            "harnesses[0].ready_path: expected a path like /health, got 'health'",
        ),
        (
            '[[harnesses]]\nname = "x"\nstop_signal = "SIGKILL"',
            "expected one of SIGINT, SIGQUIT, SIGTERM, got 'SIGKILL'",
        ),
        ('[[harnesses]]\nname = "x"\nstop_grace_s = -1', "harnesses[0].stop_grace_s"),
        ('[[harnesses]]\nname = "x"\ncmd = [1]', "harnesses[0].cmd[0]"),
        ('[[harnesses]]\nname = "x"\ncomand = "a"', "comand: unknown key; did you mean 'cmd'?"),
        ('[[harnesses]]\nname = "x"\nmode = "both"', "expected one of per_model, shared, got 'both'"),
        ('[[harnesses]]\nname = "x"\nenv = { "A=B" = "1" }', "env: 'A=B' = '1' cannot stand in an environment"),
        ('[[harnesses]]\nname = "x"\nenv = { A = "\\u0000" }', "cannot stand in an environment"),
        ('advertise_host = "http://gpu1"', "advertise_host: expected a host's name or address alone"),
        ('advertise_host = "gpu1:9090"', "advertise_host: expected a host's name or address alone"),
        ('tls_cert = "a"', "tls_key: expected as well, because tls_cert is given"),
        ('tls_client_ca = "a"', "tls_client_ca: without tls_cert and tls_key nobody is asked for a certificate"),
        ('trusted_networks = ["10.0.0.1/8"]', "trusted_networks: expected networks like 10.0.0.0/8"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_was_expected(tmp_path, text, words):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, text)
    assert str(tmp_path / "neuron.toml") in refusal.value.message
    assert words in refusal.value.message

"""What may be written into cortex.toml, and what is said about the rest."""

from pathlib import Path

import msgspec
import pytest

from cortex.contract.error import ConfigError
from cortex.gateway.settings import GatewaySettings, NeuronEntry, host_port, load_gateway_settings

MISSION = """\
[gateway]
listen = "0.0.0.0:8000"
metrics_listen = "0.0.0.0:9100"

[eviction]
strategy = "lru"
defrag_after_cycles = 50

[[neurons]]
name = "beast"
endpoint = "http://beast.example.internal:9090"

[[neurons]]
name = "benjy"
endpoint = "http://benjy.example.internal:9090"

[[neurons]]
name = "quadbrat"
endpoint = "http://quadbrat.example.internal:9090"
"""


def load(tmp_path: Path, text: str, **env: str) -> GatewaySettings:
    path = tmp_path / "cortex.toml"
    path.write_text(text)
    return load_gateway_settings(path, env)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return caught.value.message.removeprefix(f"{tmp_path}/cortex.toml: ")


def test_the_missions_example_loads_as_written(tmp_path: Path) -> None:
    names = ("beast", "benjy", "quadbrat")
    neurons = tuple(NeuronEntry(name=name, endpoint=f"http://{name}.example.internal:9090") for name in names)
    assert load(tmp_path, MISSION) == GatewaySettings(neurons=neurons)


def test_without_a_file_the_contracts_defaults_hold() -> None:
    settings = load_gateway_settings(None, {})
    assert (settings.gateway.listen, settings.gateway.metrics_listen) == ("0.0.0.0:8000", "0.0.0.0:9100")
    assert (settings.eviction.strategy, settings.eviction.defrag_after_cycles) == ("lru", 50)
    assert (settings.gateway.heartbeat_after_s, settings.gateway.max_body_mb) == (10, 64)
    assert (settings.gateway.connect_timeout_s, settings.gateway.first_token_timeout_s) == (5, 600)
    assert (settings.gateway.discovery_s, settings.gateway.poll_s, settings.gateway.stall_timeout_s) == (60, 10, 300)


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    neurons = '[{"name": "x", "endpoint": "http://10.0.0.1:9090/"}]'
    settings = load(
        tmp_path,
        MISSION,
        CORTEX_GATEWAY__LISTEN="[::1]:1",
        CORTEX_EVICTION__STRATEGY="priority",
        CORTEX_NEURONS=neurons,
    )
    assert settings.gateway.listen == "[::1]:1"
    assert settings.eviction.strategy == "priority"
    assert settings.neurons == (NeuronEntry(name="x", endpoint="http://10.0.0.1:9090"),)


def test_credentials_of_the_unit_go_over_the_files_and_below_the_environment(tmp_path: Path) -> None:
    given = {"cortex.store-url": "postgresql://me:pw@db/x\n", "cortex.tls-cert": "PEM", "cortex.tls-key": "PEM"}
    for name, content in given.items():
        (tmp_path / name).write_text(content)
    text, unit = '[store]\nurl = "sqlite:///a.db"\nusage_retention_days = 7\n', {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    settings = load(tmp_path, text, **unit)
    assert (settings.store.url, settings.store.usage_retention_days) == ("postgresql://me:pw@db/x", 7)
    assert settings.gateway.tls_cert == f"{tmp_path}/cortex.tls-cert"
    assert settings.gateway.tls_key == f"{tmp_path}/cortex.tls-key"
    assert load(tmp_path, text, **unit, CORTEX_STORE__URL="").store.url is None
    assert load(tmp_path, text).store.url == f"sqlite:///{tmp_path}/a.db"


def test_a_credential_that_cannot_be_used_is_told_by_its_name_without_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "cortex.store-url").write_text("mysql://me:s3cret@db/x")
    with pytest.raises(ConfigError, match=r"^credential cortex\.store-url: store.*url: ") as told:
        load(tmp_path, "", CREDENTIALS_DIRECTORY=str(tmp_path))
    assert "s3cret" not in told.value.message


def test_relative_paths_start_at_the_config_file(tmp_path: Path) -> None:
    text = (
        '[gateway]\nmodels = "my/models.toml"\n[[neurons]]\nname = "x"\nendpoint = "http://x"\ntoken_file = "x.token"\n'
    )
    settings = load(tmp_path, text)
    assert settings.gateway.models == str(tmp_path / "my/models.toml")
    assert settings.neurons[0].token_file == str(tmp_path / "x.token")
    assert load(tmp_path, '[gateway]\nmodels = "/etc/m.toml"\n').gateway.models == "/etc/m.toml"
    trace = load(tmp_path, '[trace]\nendpoint = "http://x"\nheaders_file = "x.headers"\n').trace
    assert (trace.endpoint, trace.headers_file) == ("http://x", str(tmp_path / "x.headers"))


def test_a_collector_that_is_no_url_is_told_with_its_key(tmp_path: Path) -> None:
    assert refusal(tmp_path, '[trace]\nendpoint = "x:4317"\n').startswith("trace.endpoint: expected an http(s) URL")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.0.0.0:8000", ("0.0.0.0", 8000)), ("[::1]:0", ("::1", 0)), ("gw.example.internal:65535", None)],
)
def test_listen_is_split_into_host_and_port(text: str, expected: tuple[str, int] | None) -> None:
    assert host_port(text) == (expected or ("gw.example.internal", 65535))


@pytest.mark.parametrize("text", ["8000", ":8000", "::1:8000", "[::1]", "a:b", "a:70000", "a:-1", "[a]:1", "a:", "a:²"])
def test_what_is_not_host_and_port_is_refused(tmp_path: Path, text: str) -> None:
    said = refusal(tmp_path, f'[gateway]\nmetrics_listen = "{text}"\n')
    assert said == f"gateway.metrics_listen: expected host:port (0.0.0.0:8000, [::1]:8000), got '{text}'"


@pytest.mark.parametrize(
    "endpoint",
    [
        "beast:9090",
        "ftp://beast",
        "http://",
        "http://beast:port",
        "http://beast:0",
        "http://beast/v1",
        "http://u:p@beast",
        "http://beast?x",
        "http://beast#x",
        "http://[::1",
        "http://be ast",
    ],
)
def test_an_endpoint_is_a_bare_http_url(tmp_path: Path, endpoint: str) -> None:
    said = refusal(tmp_path, f'[[neurons]]\nname = "x"\nendpoint = "{endpoint}"\n')
    assert said.startswith("neurons[0].endpoint: expected an http(s) URL of a host and perhaps a port")
    assert said.endswith(f"got '{endpoint}'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gateway]\nlisen = 1\n", "gateway.lisen: unknown key; did you mean 'listen'?"),
        ("[gateway]\nmax_body_mb = 0\n", "gateway.max_body_mb: expected a whole number >= 1"),
        ("[gateway]\npoll_s = 0\n", "gateway.poll_s: expected a number > 0.0"),
        ("[gateway]\npoll_s = -1.5\n", "gateway.poll_s: expected a number > 0.0"),
        ("[eviction]\ndefrag_after_cycles = -1\n", "eviction.defrag_after_cycles: expected a whole number >= 0"),
        (
            '[eviction]\nstrategy = "lfu"\n',
            "eviction.strategy: expected one of cost, lru, priority, got 'lfu'; did you mean 'lru'?",
        ),
        (
            '[gateway]\ntrusted_proxies = ["10.0.0.1/8"]\n',
            "gateway.trusted_proxies: expected networks like 10.0.0.0/8, got '10.0.0.1/8' "
            "(10.0.0.1/8 has host bits set)",
        ),
        (
            '[[neurons]]\nname = "x"\nendpoint = "http://a"\n[[neurons]]\nname = "x"\nendpoint = "http://b"\n',
            "neurons: expected each name once, got 'x' twice",
        ),
        (
            '[[neurons]]\nname = "x"\nendpoint = "http://a"\n[[neurons]]\nname = "y"\nendpoint = "http://a/"\n',
            "neurons: expected each endpoint once, got 'http://a' twice",
        ),
        ('[[neurons]]\nname = "x"\n', "neurons[0].endpoint: missing, but required"),
        ('[gateway]\ntls_cert = "a"\n', "gateway.tls_key: expected as well, because tls_cert is given"),
        ('[gateway]\ntls_key = "a"\n', "gateway.tls_cert: expected as well, because tls_key is given"),
        (
            '[gateway]\ntls_client_ca = "a"\n',
            "gateway.tls_client_ca: without tls_cert and tls_key nobody is asked for a certificate",
        ),
        ("[gateway]\nmax_buffered_mb = 63\n", "gateway.max_buffered_mb: expected max_body_mb (64) or more"),
        (
            '[gateway]\ncors_origins = ["https://a.example/"]\n',
            "gateway.cors_origins: expected origins like https://chat.example.org, without a path, got "
            "'https://a.example/'",
        ),
        (
            '[gateway]\nallowed_hosts = ["https://a"]\n',
            "gateway.allowed_hosts: expected names like cortex.example.org or *.example.org, got 'https://a'",
        ),
        (
            '[[neurons]]\nname = "x"\nendpoint = "http://a"\nca_file = "ca"\n',
            "neurons[0].endpoint: ca_file and cert_file are for https://, got 'http://a'",
        ),
        (
            '[[neurons]]\nname = "x"\nendpoint = "https://a"\ncert_file = "c"\n',
            "neurons[0].key_file: expected as well, because cert_file is given",
        ),
    ],
)
def test_a_wrong_value_is_told_with_key_and_expectation(tmp_path: Path, text: str, words: str) -> None:
    assert refusal(tmp_path, text) == words


@pytest.mark.parametrize("name", ["", "a b", "a/b"])
def test_a_nodes_name_has_no_blanks_and_slashes(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, f'[[neurons]]\nname = "{name}"\nendpoint = "http://a"\n')
    assert said.startswith("neurons[0].name: expected a name without white space and slashes")


def test_settings_cannot_be_changed_after_loading() -> None:
    with pytest.raises(AttributeError):
        load_gateway_settings(None, {}).gateway.listen = "x:1"  # type: ignore[misc]
    assert msgspec.structs.replace(GatewaySettings(), neurons=()) == GatewaySettings()


def test_a_store_is_named_by_a_url_whose_file_starts_at_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "cortex.toml"
    path.write_text('[store]\nurl = "sqlite:///store.db"\n')
    assert load_gateway_settings(path, {}).store.url == f"sqlite:///{tmp_path}/store.db"
    there = {"CORTEX_STORE__URL": "postgresql://u:p@h/d"}
    assert load_gateway_settings(path, there).store.url == "postgresql://u:p@h/d"


def test_what_is_no_store_is_refused_without_repeating_a_password() -> None:
    with pytest.raises(ConfigError, match=r"store\.url: expected sqlite:///FILE or postgresql://") as caught:
        load_gateway_settings(None, {"CORTEX_STORE__URL": "mysql://u:s3cret@h/d"})
    assert "s3cret" not in caught.value.message


def test_certificates_lie_where_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "cortex.toml"
    path.write_text(
        '[gateway]\ntls_cert = "c"\ntls_key = "k"\ntls_client_ca = "/ca"\n'
        '[[neurons]]\nname = "x"\nendpoint = "https://a"\nca_file = "n"\ncert_file = "d"\nkey_file = "l"\n'
    )
    settings = load_gateway_settings(path, {})
    section, (neuron,) = settings.gateway, settings.neurons
    assert (section.tls_cert, section.tls_key, section.tls_client_ca) == (f"{tmp_path}/c", f"{tmp_path}/k", "/ca")
    files = (neuron.ca_file, neuron.cert_file, neuron.key_file)
    assert files == (f"{tmp_path}/n", f"{tmp_path}/d", f"{tmp_path}/l")


@pytest.mark.parametrize("origin", ["*", "null", "https://chat.example.org", "app://obsidian.md", "http://[::1]:3000"])
def test_an_origin_is_written_as_browsers_send_it(origin: str) -> None:
    assert load_gateway_settings(None, {"CORTEX_GATEWAY__CORS_ORIGINS": f'["{origin}"]'}).gateway.cors_origins == (
        origin,
    )

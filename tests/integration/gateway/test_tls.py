"""A client, ``cortex serve``, ``cortex-neuron`` and a real engine: TLS on every way, certificates on both sides."""

import contextlib
import http.client
import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import openai
import pytest
from tests.certificate import Authority, Pair
from tests.integration.gateway.raw_client import LIMIT_S
from tests.integration.gateway.real_fleet import process, wait_until
from tests.port import free_port

from cortex.neuron.embedded.tiny_model import write_demo_model

NEURON_TOML = """
port = {port}
host = "127.0.0.1"
state_dir = "state"
keep_engines = false
tls_cert = "{own.cert}"
tls_key = "{own.key}"
tls_client_ca = "{ca}"

[[harnesses]]
name = "llamacpp"
relay = true
"""
CORTEX_TOML = """
[gateway]
listen = "127.0.0.1:{port}"
metrics_listen = "127.0.0.1:{metrics_port}"
poll_s = 0.2
tls_cert = "{own.cert}"
tls_key = "{own.key}"

[[neurons]]
name = "n0"
endpoint = "https://localhost:{neuron_port}"
ca_file = "{ca}"
cert_file = "{shown.cert}"
key_file = "{shown.key}"
"""
MODELS_TOML = """
[[models]]
id = "lab/m"
harness = "llamacpp"
source = "{source}"
parallel = 2
"""


class Fleet(NamedTuple):
    """Both daemons."""

    authority: Authority
    gateway: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    neuron_port: int
    of_gateway: Pair
    of_neuron: Pair
    shown_to_neuron: Pair
    folder: Path

    def shown(self, port: int) -> bytes:
        """Return the certificate that a door shows now."""
        return ssl.PEM_cert_to_DER_cert(
            ssl.get_server_certificate(("localhost", port), ca_certs=self.authority.file, timeout=LIMIT_S)
        )

    def get(self, port: int, path: str, shown: Pair | None = None) -> bytes:
        url = f"https://localhost:{port}{path}"
        with urllib.request.urlopen(url, context=self.authority.trusting(shown), timeout=LIMIT_S) as answer:
            return bytes(answer.read())

    def sdk(self) -> openai.OpenAI:
        client = httpx.Client(verify=self.authority.trusting())
        url = f"https://localhost:{self.port}/v1"
        return openai.OpenAI(base_url=url, api_key="none", max_retries=0, http_client=client)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("tls")
    authority, clients = Authority(folder), Authority(folder, "clients")
    port, metrics_port, neuron_port = free_port(), free_port(), free_port()
    of_gateway, of_neuron = authority.issue("gateway"), authority.issue("neuron")
    shown = clients.issue("gateway-to-neuron")
    (folder / "neuron.toml").write_text(NEURON_TOML.format(port=neuron_port, own=of_neuron, ca=clients.file))
    (folder / "cortex.toml").write_text(
        CORTEX_TOML.format(
            port=port,
            metrics_port=metrics_port,
            neuron_port=neuron_port,
            own=of_gateway,
            shown=shown,
            ca=authority.file,
        )
    )
    source = write_demo_model(folder / "demo.gguf")
    (folder / "models.toml").write_text(MODELS_TOML.format(source=source))
    with (
        process(folder, "neuron", "-m", "cortex.cli.neuron", "--config", "neuron.toml") as neuron,
        process(folder, "gateway", "-m", "cortex", "serve") as gateway,
    ):
        it = Fleet(authority, gateway, port, metrics_port, neuron_port, of_gateway, of_neuron, shown, folder)

        def is_ready() -> bool:
            assert neuron.poll() is None, it.log("neuron")
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                return b"healthy" in it.get(port, "/health") and b'"n0"' in it.get(port, "/admin/v1/nodes")
            return False

        wait_until(is_ready, gateway, folder / "gateway.log")
        yield it


def chat(sdk: openai.OpenAI) -> str:
    stream = sdk.chat.completions.create(
        model="lab/m", messages=[{"role": "user", "content": "Hello"}], max_tokens=24, stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_a_request_goes_encrypted_all_the_way_to_a_real_engine(fleet: Fleet) -> None:
    with fleet.sdk() as sdk:
        assert chat(sdk)
    url = fleet.get(fleet.neuron_port, "/models/lab%2Fm/endpoint", fleet.shown_to_neuron)
    assert f'"https://localhost:{fleet.neuron_port}/relay/'.encode() in url
    assert b"cortex_tls_certificate_not_after_seconds" in fleet.get(fleet.metrics_port, "/metrics")
    assert b'certificate="neuron"' in fleet.get(fleet.neuron_port, "/metrics", fleet.shown_to_neuron)


def test_the_command_line_trusts_whom_it_is_told_to(fleet: Fleet) -> None:
    command = [sys.executable, "-P", "-m", "cortex", "models", "--url", f"https://localhost:{fleet.port}", "--json"]
    env = {key: value for key, value in os.environ.items() if not key.startswith("CORTEX_")}
    told = subprocess.run(command, env={**env, "SSL_CERT_FILE": fleet.authority.file}, capture_output=True, check=True)
    assert b"lab/m" in told.stdout
    refused = subprocess.run(command, env=env, capture_output=True, check=False)
    assert refused.returncode
    assert b"CERTIFICATE_VERIFY_FAILED" in refused.stderr
    asking = [sys.executable, "-P", "-m", "cortex", "check", "--neurons", "--config", str(fleet.folder / "cortex.toml")]
    seen = subprocess.run(asking, env=env, capture_output=True, check=False)
    assert b"was not looked at" not in seen.stdout + seen.stderr, "neurons are asked by the gateway's own certificate"


def test_nobody_speaks_plainly_or_without_a_certificate_to_the_neuron(fleet: Fleet) -> None:
    for scheme, context in (("http", None), ("https", fleet.authority.trusting())):
        url = f"{scheme}://localhost:{fleet.neuron_port}/models"
        with pytest.raises((urllib.error.URLError, http.client.HTTPException, ConnectionError, ssl.SSLError)) as told:
            urllib.request.urlopen(url, context=context, timeout=LIMIT_S)
        assert not isinstance(told.value, urllib.error.HTTPError)
    with pytest.raises(urllib.error.HTTPError) as plain:
        urllib.request.urlopen(f"http://localhost:{fleet.port}/health", timeout=LIMIT_S)
    with plain.value as answer:
        assert answer.code == 400
        assert b"https://" in answer.read()


def test_new_certificates_are_taken_with_a_stream_open(fleet: Fleet) -> None:
    before = fleet.shown(fleet.port)
    with fleet.sdk() as sdk:
        stream = sdk.chat.completions.create(
            model="lab/m", messages=[{"role": "user", "content": "Hello"}], max_tokens=200, stream=True
        )
        next(iter(stream))
        fleet.authority.issue("gateway", to=fleet.of_gateway)
        os.kill(fleet.gateway.pid, signal.SIGHUP)
        wait_until(lambda: fleet.shown(fleet.port) != before, fleet.gateway)
        assert [chunk.choices[0].finish_reason for chunk in stream if chunk.choices][-1] in ("stop", "length")
        assert chat(sdk)
    assert "TLS" in fleet.log("gateway")
    Path(fleet.of_gateway.key).write_text("nothing")
    good = fleet.shown(fleet.port)
    os.kill(fleet.gateway.pid, signal.SIGHUP)
    wait_until(lambda: "TLS stays as it was" in fleet.log("gateway"), fleet.gateway)
    assert fleet.shown(fleet.port) == good
    assert "BEGIN" not in fleet.log("gateway")

"""A neuron is looked at step by step, and the first step that fails is the one that is told."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
from tests.certificate import Authority
from tests.port import free_port

from cortex.cli.doctor.neuron_look import NeuronLook, look_at
from cortex.contract.instance import START_ID_HEADER
from cortex.kit.clock import SystemClock
from cortex.kit.http_client import HttpClient
from cortex.kit.tls import TlsFiles

DISCOVERY = {"hostname": "h", "os": "Linux", "kernel": "6", "neuron_version": "0.1.0"}
WELL: dict[str, tuple[int, Any]] = {
    "/livez": (200, {"status": "alive"}),
    "/discovery": (200, DISCOVERY),
    "/health": (200, {"uptime_secs": 1.0}),
    "/models": (200, []),
}


@contextmanager
def neuron(answers: dict[str, tuple[int, Any]] = WELL, *, ahead_s: float = 0, is_one: bool = True) -> Iterator[str]:
    """Answer as a neuron does, with a clock that is ``ahead_s``; yield its endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[self.path]
            said = msgspec.json.encode(body)
            self.send_response_only(status)
            self.send_header("date", formatdate(SystemClock().epoch_s() + ahead_s, usegmt=True))
            if is_one:
                self.send_header(START_ID_HEADER, "a1")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def look(endpoint: str, token_file: str | None = None, files: TlsFiles | None = None) -> NeuronLook:
    async def run() -> NeuronLook:
        http = HttpClient()
        try:
            return await look_at("beast", endpoint, token_file, http, SystemClock(), 30.0, files)
        finally:
            await http.close()

    return asyncio.run(run())


def test_one_that_is_well_is_seen_with_all_that_it_says() -> None:
    with neuron(ahead_s=600) as endpoint:
        seen = look(endpoint)
    assert (seen.addresses, seen.status, seen.why_no_neuron) == (("127.0.0.1",), 200, "")
    assert seen.discovery is not None
    assert seen.discovery.neuron_version == "0.1.0"
    assert seen.health is not None
    assert seen.skew_s is not None
    assert abs(seen.skew_s - 600) <= seen.took_s + 1


def test_a_name_without_an_address_ends_it() -> None:
    seen = look("http://no.such.host.invalid:9090")
    assert seen.why_no_name
    assert (seen.addresses, seen.why_no_connection) == ((), "")


def test_a_port_on_which_nobody_listens_ends_it() -> None:
    seen = look(f"http://127.0.0.1:{free_port()}")
    assert seen.why_no_connection == "Connection refused"
    assert seen.status == 0


def test_another_server_is_no_neuron() -> None:
    with neuron(is_one=False) as endpoint:
        seen = look(endpoint)
    assert seen.why_no_neuron == "GET /livez answers 200, and not as a neuron does"


def test_what_it_says_when_it_lets_nobody_in_is_kept() -> None:
    refused = {**WELL, "/discovery": (401, {"error": {"message": "who are you?"}})}
    with neuron(refused) as endpoint:
        seen = look(endpoint)
    assert (seen.status, seen.said, seen.discovery) == (401, "who are you?", None)


def test_answers_of_another_shape_are_told() -> None:
    with neuron({**WELL, "/discovery": (200, {"hostname": 3})}) as endpoint:
        seen = look(endpoint)
    assert seen.why_no_neuron.startswith("its answers are not by the contract")


def test_a_credential_is_shown_or_why_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    with neuron() as endpoint:
        assert look(endpoint, str(tmp_path / "token")).has_token
        gone = look(endpoint, str(tmp_path / "none"))
    assert not gone.has_token
    assert gone.why_no_token.endswith("none: cannot be read: No such file or directory")


def test_files_for_tls_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("gateway")
    files = TlsFiles(cert=pair.cert, key=str(tmp_path / "none"), cert_key="cert_file", key_key="key_file")
    with neuron() as endpoint:
        assert "none cannot be read" in look(endpoint, files=files).why_no_neuron

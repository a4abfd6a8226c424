"""What a gateway's checks judge is gathered from its files, its ports and its neurons, each thing once."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest
from tests.certificate import Authority, Pair
from tests.port import free_port
from tests.unit.cli.desk import desk
from tests.unit.cli.doctor.test_local_call import closed_door
from tests.unit.cli.doctor.test_neuron_look import neuron

from cortex.cli.doctor.finding import Skip
from cortex.cli.doctor.gateway.look import GatewayLook, Running
from cortex.cli.doctor.port import PortState
from cortex.kit.clock import SystemClock

T = TypeVar("T")


def config(folder: Path, text: str) -> Path:
    file = folder / "cortex.toml"
    file.write_text(text)
    return file


def seen(folder: Path, ask: Callable[[GatewayLook], Awaitable[T]], env: Mapping[str, str] | None = None) -> T:
    """Return what ``ask`` sees with the configuration in a folder."""

    async def run() -> T:
        look = GatewayLook(folder / "cortex.toml", env or {}, folder, folder, SystemClock(), deadline_s=120.0)
        try:
            return await ask(look)
        finally:
            await look.close()

    return asyncio.run(run())


def listening_on(port: int) -> str:
    return f'[gateway]\nlisten = "127.0.0.1:{port}"\nmetrics_listen = "127.0.0.1:{free_port()}"\n'


def test_a_file_that_cannot_be_used_leaves_the_rest_unseen(tmp_path: Path) -> None:
    config(tmp_path, "[gateway]\nlisen = 3\n")
    with pytest.raises(Skip, match=r"see config\.file"):
        seen(tmp_path, lambda look: look.configured())
    with pytest.raises(Skip, match=r"see config\.file"):
        seen(tmp_path, lambda look: look.neurons())


def test_a_catalogue_that_cannot_be_used_is_another_matter(tmp_path: Path) -> None:
    config(tmp_path, "")
    (tmp_path / "models.toml").write_text("[[models]]\nid = 3\n")
    with pytest.raises(Skip, match=r"see catalogue\.file"):
        seen(tmp_path, lambda look: look.profiles())


def test_a_gateway_that_runs_here_is_known_by_what_it_says(tmp_path: Path) -> None:
    root = {"name": "cortex", "version": "7.1.0"}
    health = {"status": "ok", "nodes": []}
    with desk(GET_readyz={"status": "ok"}, GET_=root, GET_health=health) as here:
        config(tmp_path, listening_on(int(here.url.rsplit(":", 1)[1])))
        env = {"CORTEX_API_KEY": "k3y"}
        assert seen(tmp_path, lambda look: look.running(), env) == Running("ok", "7.1.0", health)
        assert "Bearer k3y" in here.credentials
        port = seen(tmp_path, lambda look: look.api_port(), env)
        assert (port.version, port.pid) == ("7.1.0", os.getpid())
        assert seen(tmp_path, lambda look: look.identity()).uid == os.geteuid()


def test_one_that_lets_in_only_who_has_a_certificate_is_known_by_its_own(tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    ours, other = authority.issue("ours"), authority.issue("other")
    tls = 'tls_cert = "ours.pem"\ntls_key = "ours.key"\ntls_client_ca = "ca.pem"\n'
    config(tmp_path, listening_on(port) + tls)

    async def running(look: GatewayLook, shown: Pair) -> Running:
        async with closed_door(shown, authority, port):
            return await look.running()

    assert seen(tmp_path, lambda look: running(look, ours)) == Running("closed", "?")
    assert seen(tmp_path, lambda look: running(look, other)) == Running()


def test_another_server_on_its_port_is_no_gateway(tmp_path: Path) -> None:
    with desk(GET_readyz={"status": "fine"}) as here:
        config(tmp_path, listening_on(int(here.url.rsplit(":", 1)[1])))
        assert seen(tmp_path, lambda look: look.running()) == Running()
        assert seen(tmp_path, lambda look: look.api_port()).version == ""


@pytest.mark.parametrize(("text", "version"), [(b"# HELP\ncortex_up 1\n", "?"), (b"node_load1 3\n", "")])
def test_metrics_of_ours_are_told_from_those_of_others(tmp_path: Path, text: bytes, version: str) -> None:
    with desk(GET_metrics=[(200, text)]) as here:
        port = here.url.rsplit(":", 1)[1]
        config(tmp_path, f'[gateway]\nlisten = "127.0.0.1:{free_port()}"\nmetrics_listen = "127.0.0.1:{port}"\n')
        assert seen(tmp_path, lambda look: look.metrics_port()).version == version


def test_nobody_there_is_a_free_port(tmp_path: Path) -> None:
    port = free_port()
    config(tmp_path, listening_on(port))
    assert seen(tmp_path, lambda look: look.api_port()) == PortState("127.0.0.1", port)
    assert seen(tmp_path, lambda look: look.running()) == Running()


def test_neurons_are_asked_and_become_what_the_fleets_rules_see(tmp_path: Path) -> None:
    with neuron() as endpoint:
        gone = f"http://127.0.0.1:{free_port()}"
        entries = "".join(f'[[neurons]]\nname = "{n}"\nendpoint = "{e}"\n' for n, e in (("a", endpoint), ("b", gone)))
        config(tmp_path, entries)
        one, other = seen(tmp_path, lambda look: look.views())
    assert (one.name, one.is_healthy, one.discovery is None) == ("a", True, False)
    assert (other.name, other.is_healthy, other.discovery) == ("b", False, None)


def test_without_a_store_there_is_none(tmp_path: Path) -> None:
    config(tmp_path, "")
    assert seen(tmp_path, lambda look: look.store()) is None
    assert seen(tmp_path, lambda look: look.store_url()) is None

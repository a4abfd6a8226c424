"""What a node's checks judge is gathered below a root: buses, device files, rules, groups, models, and its neuron."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from tests.certificate import Authority, Pair
from tests.port import free_port
from tests.unit.cli.desk import desk
from tests.unit.cli.doctor.test_host import plant
from tests.unit.cli.doctor.test_local_call import closed_door
from tests.unit.cli.doctor.test_neuron_look import DISCOVERY, WELL, neuron
from tests.unit.cli.doctor.test_program import programs

from cortex.cli.doctor.finding import Skip
from cortex.cli.doctor.host import Identity, group_ids
from cortex.cli.doctor.node.gpu import Smi
from cortex.cli.doctor.node.look import (
    NodeLook,
    Running,
    addresses_of,
    bus_of,
    files_of,
    group_limit_of,
    is_here,
    label_of,
    largest_in,
    module_of,
    programs_of,
    rules_of,
)
from cortex.contract.instance import LoadRequest
from cortex.kit.clock import SystemClock
from cortex.neuron.settings import HarnessEntry, NeuronSettings
from cortex.neuron.state_dir import Handle, Record, StateDir

T = TypeVar("T")

OPEN_MODULE = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (x)  Mon\nGCC version: 14"
)
OLD_MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.07  Sat Feb 17 22:55:48 UTC 2024\n"


def seen(folder: Path, text: str, ask: Callable[[NodeLook], Awaitable[T]]) -> T:
    """Return what ``ask`` sees with a configuration."""
    (folder / "neuron.toml").write_text(text)

    async def run() -> T:
        return await ask(
            NodeLook(folder / "neuron.toml", {}, folder, folder, SystemClock(), root=folder / "root", deadline_s=120.0)
        )

    return asyncio.run(run())


def on(endpoint: str, more: str = "") -> str:
    return f'host = "127.0.0.1"\nport = {endpoint.rsplit(":", 1)[1]}\n{more}'


def plant_gpu(root: Path, address: str, vendor: str = "0x10de", kind: str = "0x030000") -> Path:
    device = root / "sys/bus/pci/devices" / address
    plant(device / "vendor", f"{vendor}\n")
    plant(device / "class", f"{kind}\n")
    return device


def test_gpus_on_the_bus_are_counted_by_vendor(tmp_path: Path) -> None:
    plant_gpu(tmp_path, "0000:01:00.0")
    plant_gpu(tmp_path, "0000:02:00.0", kind="0x030200")
    plant_gpu(tmp_path, "0000:01:00.1", kind="0x040300")  # its sound
    plant_gpu(tmp_path, "0000:03:00.0", vendor="0x1002")
    plant_gpu(tmp_path, "0000:04:00.0", vendor="0x1af4")
    given_away = plant_gpu(tmp_path, "0000:05:00.0")
    (tmp_path / "drivers/vfio-pci").mkdir(parents=True)
    (given_away / "driver").symlink_to(tmp_path / "drivers/vfio-pci")
    assert bus_of(tmp_path) == {"NVIDIA": ("0000:01:00.0", "0000:02:00.0"), "AMD": ("0000:03:00.0",)}
    assert bus_of(tmp_path / "none") == {}


def test_device_files_are_those_that_engines_open(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "kfd", "dri/renderD128", "dri/card0", "null"):
        plant(tmp_path / "dev" / name, "")
    assert set(files_of(tmp_path)) == {"nvidia0", "nvidiactl", "nvidia-uvm", "kfd", "dri/renderD128"}


@pytest.mark.parametrize(("text", "version"), [(OPEN_MODULE, "580.65.06"), (OLD_MODULE, "535.161.07"), ("", "")])
def test_the_module_tells_its_version(tmp_path: Path, text: str, version: str) -> None:
    plant(tmp_path / "proc/driver/nvidia/version", text)
    assert module_of(tmp_path) == version


def test_without_a_module_there_is_no_version(tmp_path: Path) -> None:
    assert module_of(tmp_path) == ""


def test_rules_are_those_that_name_the_user(tmp_path: Path) -> None:
    plant(tmp_path / "etc/polkit-1/rules.d/10-other.rules", "subject.user === 'me'")
    plant(tmp_path / "usr/share/polkit-1/rules.d/50-cortex-neuron.rules", "ours: cortex-neuron")
    plant(tmp_path / "usr/share/polkit-1/rules.d/50-cortex-neuron.rpmsave", "old: cortex-neuron")
    assert rules_of(tmp_path, "cortex-neuron") == ["ours: cortex-neuron"]
    assert rules_of(tmp_path / "none", "cortex-neuron") == []


def test_the_tightest_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    plant(tmp_path / "proc/42/cgroup", "0::/system.slice/cortex-neuron.service\n")
    plant(tmp_path / "sys/fs/cgroup/system.slice/cortex-neuron.service/memory.max", "max\n")
    plant(tmp_path / "sys/fs/cgroup/system.slice/memory.max", "8589934592\n")
    assert group_limit_of(42, tmp_path) == 8589934592
    assert group_limit_of(0, tmp_path) is None


def test_the_largest_model_is_found(tmp_path: Path) -> None:
    plant(tmp_path / "a/small.gguf", "x")
    plant(tmp_path / "b/deep/big.gguf", "x" * 100)
    plant(tmp_path / "b/bigger.txt", "x" * 1000)
    assert largest_in((tmp_path / "a", tmp_path / "b", tmp_path / "none")) == (tmp_path / "b/deep/big.gguf", 100)
    assert largest_in(()) is None


def test_programs_of_harnesses_are_found_where_they_are(tmp_path: Path) -> None:
    programs(tmp_path, **{"llama-server": "exit 0"})
    settings = NeuronSettings(
        harnesses=(
            HarnessEntry(name="a", kind="llamacpp", binary="llama-server"),
            HarnessEntry(name="b", kind="llamacpp", binary="no-such-program"),
            HarnessEntry(name="c", kind="openai"),
        )
    )
    assert programs_of(settings, {"PATH": str(tmp_path)}) == [tmp_path / "llama-server"]
    assert label_of(tmp_path / "none") == ""


def test_addresses_are_of_this_host_or_not() -> None:
    assert asyncio.run(addresses_of("127.0.0.1")) == (("127.0.0.1",), "")
    none, why = asyncio.run(addresses_of("no.such.host.invalid"))
    assert none == ()
    assert why
    assert (is_here("127.0.0.1"), is_here("192.0.2.1")) == (True, False)


def test_a_neuron_that_runs_here_is_known_by_what_it_says(tmp_path: Path) -> None:
    answers = {**WELL, "/readyz": (200, {"status": "ready"})}
    (tmp_path / "root").mkdir()
    (tmp_path / "root/proc").symlink_to("/proc")
    with neuron(answers) as endpoint:
        assert seen(tmp_path, on(endpoint), lambda look: look.running()) == Running("0.1.0", "ready")
        port = seen(tmp_path, on(endpoint), lambda look: look.port())
        assert (port.version, port.pid) == ("0.1.0", os.getpid())


def test_one_that_starts_or_lets_nobody_in_is_ours_too(tmp_path: Path) -> None:
    starts = {**WELL, "/readyz": (503, {}), "/discovery": (503, {})}
    with neuron(starts) as endpoint:
        assert seen(tmp_path, on(endpoint), lambda look: look.running()) == Running("?", "starting")


def test_a_neuron_that_runs_is_judged_by_its_own_user_and_environment(tmp_path: Path) -> None:
    async def who(look: NodeLook) -> tuple[str, object]:
        return (await look.identity()).whence, (await look.surroundings())[0].get("PATH")

    (tmp_path / "root").mkdir()
    (tmp_path / "root/proc").symlink_to("/proc")
    with neuron({**WELL, "/readyz": (200, {"status": "ready"})}) as endpoint:
        assert seen(tmp_path, on(endpoint), who) == (f"process {os.getpid()}", started_with("PATH"))
    assert seen(tmp_path, f"port = {free_port()}", who)[0] in ("whoever runs doctor", "the service's user")


def test_a_service_that_does_not_run_has_the_groups_that_its_unit_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Identity(990, frozenset({990}), "cortex-neuron", "the service's user")
    monkeypatch.setattr("cortex.cli.doctor.node.look.identity_of", lambda *_: service)
    made = programs(tmp_path, systemctl="echo daemon no-such-group")

    async def gids(look: NodeLook) -> frozenset[int]:
        look.programs = made
        return (await look.identity()).gids

    assert seen(tmp_path, f"port = {free_port()}", gids) == {990} | group_ids(["daemon"])
    assert group_ids(["root", "no-such-group"]) == {0}


def started_with(name: str) -> str | None:
    told = Path("/proc/self/environ").read_text(errors="replace").split("\0")
    return dict(each.split("=", 1) for each in told if "=" in each).get(name)


def test_another_server_on_its_port_is_no_neuron(tmp_path: Path) -> None:
    with desk(GET_readyz={"status": "ready"}, GET_discovery=DISCOVERY) as here:
        assert seen(tmp_path, on(here.url), lambda look: look.running()) == Running()
    assert seen(tmp_path, f"port = {free_port()}", lambda look: look.running()) == Running()


def test_one_that_lets_in_only_who_has_a_certificate_is_known_by_its_own(tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    ours, other = authority.issue("ours"), authority.issue("other")
    text = 'tls_cert = "ours.pem"\ntls_key = "ours.key"\ntls_client_ca = "ca.pem"\n'

    async def running(look: NodeLook, shown: Pair) -> Running:
        async with closed_door(shown, authority, port):
            return await look.running()

    there = on(f"http://127.0.0.1:{port}", text)
    assert seen(tmp_path, there, lambda look: running(look, ours)) == Running("?", "closed")
    assert seen(tmp_path, there, lambda look: running(look, other)) == Running()


def test_a_file_that_cannot_be_used_leaves_the_rest_unseen(tmp_path: Path) -> None:
    with pytest.raises(Skip, match=r"see config\.file"):
        seen(tmp_path, "prt = 3", lambda look: look.offer())


def test_engines_that_were_written_down_are_known(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    request = LoadRequest(model_id="m", harness="llamacpp")
    record = Record(
        model_id="m",
        harness="llamacpp",
        generation=1,
        nonce="n",
        devices=(0,),
        need_mb=1,
        is_estimate=False,
        parallel=1,
        request=request,
        handle=Handle(pid=4711),
    )
    state.write_record(record)
    state.close()
    plant(tmp_path / "state/engine/2.json", "no record")

    async def pids(look: NodeLook) -> frozenset[int]:
        return look.engine_pids(await look.state_path())

    assert seen(tmp_path, 'state_dir = "state"', pids) == {4711}


def test_nvidia_smi_is_asked_where_there_are_gpus(tmp_path: Path) -> None:
    made = programs(tmp_path, **{"nvidia-smi": "echo 'GPU-a, Enabled'; echo 'GPU-b, Disabled'"})
    plant_gpu(tmp_path / "root", "0000:01:00.0")

    async def smi(look: NodeLook) -> Smi | None:
        look.programs = made
        return (await look.gpu()).smi

    assert seen(tmp_path, "", smi) == Smi(0, (("GPU-a", "Enabled"), ("GPU-b", "Disabled")))


def test_units_are_asked_for_by_the_names_that_harnesses_give(tmp_path: Path) -> None:
    text = '[[harnesses]]\nname = "mistralrs"\nsystemd_unit = "no-such-unit.service"\n'
    (one,) = seen(tmp_path, text, lambda look: look.units())
    assert (one.harness, one.name) == ("mistralrs", "no-such-unit.service")
    assert one.state is None or one.state.load != "loaded"

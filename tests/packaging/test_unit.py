"""What the units promise beyond what systemd can check: who is heard, watched, reached and left alone."""

import re
from pathlib import Path

import pytest
from tests.arch.source import ROOT

from cortex.gateway.settings import GatewaySettings
from cortex.kit.watchdog import EXTEND_S
from cortex.neuron.settings import NeuronSettings

PLACE = ROOT / "packaging" / "systemd"
DAEMONS = ["cortex.service", "cortex-neuron.service"]
ENGINES = ["cortex-engine@.service", "mistralrs@.service"]
WITH_GPUS = ["cortex-neuron.service", *ENGINES]
NVIDIA = {"nvidia", "nvidia-frontend", "nvidiactl", "nvidia-uvm", "nvidia-caps"}
"""Both names of major 195: with only the wrong one NVML starts and then finds no device."""


def settings(name: str) -> dict[str, list[str]]:
    """Return what a unit says, by keys; an empty value takes back what was said before."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", (PLACE / name).read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def one(name: str, key: str) -> str | None:
    values = settings(name).get(key, [None])
    assert len(values) == 1, f"{name}: {key}"
    return values[0]


def words(name: str, key: str) -> set[str]:
    return {word for value in settings(name).get(key, []) for word in value.split()}


@pytest.mark.parametrize("unit", DAEMONS)
def test_a_daemon_says_when_it_is_ready_and_a_stuck_one_is_started_again(unit: str) -> None:
    assert one(unit, "Type") == "notify"
    assert one(unit, "NotifyAccess") == "main"
    assert 10 <= int(one(unit, "WatchdogSec") or 0) <= 60
    assert one(unit, "Restart") in ("on-failure", "always")
    assert one(unit, "ExecReload") == "/bin/kill -HUP $MAINPID"
    assert "network-online.target" in words(unit, "After") & words(unit, "Wants")


@pytest.mark.parametrize("unit", DAEMONS)
def test_a_daemon_has_a_user_a_place_for_its_state_and_files_enough(unit: str) -> None:
    name = unit.removesuffix(".service")
    assert (one(unit, "User"), one(unit, "Group")) == (name, name)
    assert name in words(unit, "StateDirectory")
    assert one(unit, "WorkingDirectory") == f"/var/lib/{name}"
    assert int(one(unit, "LimitNOFILE") or 0) >= 16384
    assert one(unit, "UMask") == "0027"


def test_the_store_as_shipped_is_in_the_gateways_place() -> None:
    config = (ROOT / "packaging/rpm/config/cortex.toml").read_text()
    assert f'url = "sqlite:///{one("cortex.service", "WorkingDirectory")}/cortex.db"' in config


def test_engines_outlive_their_neuron_and_a_units_engine_ends_whole() -> None:
    assert one("cortex-neuron.service", "KillMode") == "process"
    assert one("cortex-neuron.service", "OOMPolicy") == "continue"
    assert {one(unit, "KillMode") for unit in ENGINES} == {"control-group"}


@pytest.mark.parametrize("unit", WITH_GPUS)
def test_whoever_uses_gpus_reaches_them_and_no_other_device(unit: str) -> None:
    assert one(unit, "DevicePolicy") == "closed"
    allowed = set(settings(unit)["DeviceAllow"])
    assert {f"char-{name} rw" for name in (*NVIDIA, "drm")} <= allowed
    assert "char-kfd rw" in allowed or unit == "mistralrs@.service", "AMD's; mistral.rs is built for CUDA"
    assert {line for line in allowed if not re.fullmatch(r"char-(nvidia[a-z-]*|drm|kfd) rw", line)} == set()
    assert {"video", "render"} <= words(unit, "SupplementaryGroups")
    assert one(unit, "PrivateDevices") is None, "it would hide them all"
    assert "systemd-modules-load.service" in words(unit, "After"), "classes of devices are looked up at the start"
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in words(unit, "Environment") or unit == "cortex-neuron.service"


def test_the_neuron_sees_the_processes_that_it_tells_of() -> None:
    """It reads /proc of others, and the journal; the gateway does neither and has no device."""
    unit = "cortex-neuron.service"
    assert {"ProtectProc", "ProcSubset", "PrivateUsers"} & set(settings(unit)) == set()
    assert "systemd-journal" in words(unit, "SupplementaryGroups")
    assert {"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"} == words(unit, "RestrictAddressFamilies")
    assert words("cortex.service", "RestrictAddressFamilies") == {"AF_INET", "AF_INET6", "AF_UNIX"}
    assert (one("cortex.service", "PrivateDevices"), one("cortex.service", "SupplementaryGroups")) == ("yes", None)


@pytest.mark.parametrize("unit", DAEMONS)
def test_secrets_come_by_name(unit: str) -> None:
    loaded = settings(unit)["LoadCredential"]
    assert {"cortex.fleet-token", "cortex.tls-cert", "cortex.tls-key"} <= set(loaded)
    assert [name for name in loaded if ":" in name] == [], "found in /etc/credstore, or not needed"


@pytest.mark.parametrize("path", sorted(PLACE.glob("*.service")), ids=lambda path: path.name)
def test_no_service_can_become_more_than_it_is(path: Path) -> None:
    assert one(path.name, "NoNewPrivileges") == "yes"
    assert one(path.name, "CapabilityBoundingSet") == ""
    assert one(path.name, "RestrictSUIDSGID") == "yes"


@pytest.mark.parametrize(
    ("socket", "port"),
    [
        ("cortex.socket", str(GatewaySettings().gateway.listen).rpartition(":")[2]),
        ("cortex-metrics.socket", str(GatewaySettings().gateway.metrics_listen).rpartition(":")[2]),
        ("cortex-neuron.socket", str(NeuronSettings().port)),
    ],
)
def test_a_socket_has_the_port_that_its_daemon_has_without_it(socket: str, port: str) -> None:
    assert one(socket, "ListenStream") == f"0.0.0.0:{port}"
    assert one(socket, "FileDescriptorName")


@pytest.mark.parametrize("path", sorted(PLACE.iterdir()), ids=lambda path: path.name)
def test_what_is_enabled_is_started_at_boot(path: Path) -> None:
    """Otherwise ``systemctl enable`` says nothing, and the host comes back without it."""
    target = {".service": "multi-user.target", ".socket": "sockets.target"}[path.suffix]
    assert one(path.name, "WantedBy") == target


@pytest.mark.parametrize("unit", DAEMONS)
def test_a_stop_lasts_as_long_as_there_are_signs_of_life(unit: str) -> None:
    """Each asks for EXTEND_S more, and comes at half of WatchdogSec=."""
    first_s = int(one(unit, "WatchdogSec") or 0) / 2
    assert int(one(unit, "TimeoutStopSec") or 0) >= first_s + EXTEND_S


ACCOUNTS = "".join(path.read_text() for path in sorted((ROOT / "packaging/rpm/sysusers").iterdir()))
USER = re.compile(r'^u (?P<name>\S+) - "(?P<who>[^"]+)" (?P<home>\S+)$')


@pytest.mark.parametrize("line", [line for line in ACCOUNTS.splitlines() if not line.startswith("#")])
def test_a_user_has_a_number_that_the_host_chooses_its_units_place_and_no_shell(line: str) -> None:
    found = USER.match(line)
    assert found is not None, "type, name, no number, who it is, home: what would follow is a shell"
    assert found["home"] == f"/var/lib/{found['name']}"


def test_every_unit_has_its_user_from_the_package_that_brings_it() -> None:
    neurons = (ROOT / "packaging/rpm/sysusers/cortex-neuron.conf").read_text()
    assert {one(unit, "User") for unit in WITH_GPUS} == set(re.findall(r"^u (\S+)", neurons, re.MULTILINE))

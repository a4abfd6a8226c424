"""The fleet of a replay is read from a file, from neurons, and from the command line."""

from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.testing.replay_fleet import ReplayFleet, ReplayNode, asked_fleet, changed, parse_node, read_fleet


def test_a_file_names_nodes_and_how_fast_engines_load(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(
        'load_mb_per_s = 1000\n[[nodes]]\nname = "beast"\ndevices_mb = [32000, 32000]\n[load_s]\n"a/b" = 9.0\n'
    )
    fleet = read_fleet(file)
    assert fleet.nodes == (ReplayNode(name="beast", devices_mb=(32_000, 32_000)),)
    assert (fleet.load_s_of("a/b", 5000), fleet.load_s_of("other", 5000)) == (9.0, 7.0)


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('[[nodes]]\nname = "beast"\ndevice_mb = [1]\n')
    with pytest.raises(ConfigError, match="device_mb"):
        read_fleet(file)


def test_neurons_tell_their_devices_and_what_loads_took() -> None:
    discovery = {"devices": [{"vram_total_mb": 24_000}], "headroom_mb": 300}
    fleet = asked_fleet({"benjy": (discovery, [{"id": "m", "load_s": 4.5}, {"id": "n", "load_s": None}])})
    assert fleet.nodes == (ReplayNode(name="benjy", devices_mb=(24_000,), headroom_mb=300),)
    assert fleet.load_s == {"m": 4.5}


def test_a_node_is_named_with_its_devices() -> None:
    assert parse_node("beast=32000x2").devices_mb == (32_000, 32_000)
    assert parse_node("benjy=24000").devices_mb == (24_000,)


@pytest.mark.parametrize("text", ["beast", "=1", "beast=", "beast=0", "beast=1x", "beast=ax2"])
def test_another_word_for_a_node_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME=MBxCOUNT"):
        parse_node(text)


@pytest.mark.parametrize("text", ["beast=24000x0", "beast=24000x65", "beast=24000x999999"])
def test_so_many_devices_no_host_has(text: str) -> None:
    with pytest.raises(ConfigError, match="COUNT of devices from 1 to 64"):
        parse_node(text)


def test_one_more_gpu_goes_to_the_node_that_has_the_name() -> None:
    fleet = ReplayFleet(nodes=(ReplayNode(name="a", devices_mb=(1,)), ReplayNode(name="b", devices_mb=(2,))))
    after = changed(fleet, [ReplayNode(name="a", devices_mb=(8,)), ReplayNode(name="c", devices_mb=(9,))], ["b"])
    assert {node.name: node.devices_mb for node in after.nodes} == {"a": (1, 8), "c": (9,)}


def test_a_node_that_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(ConfigError, match="no node 'x'"):
        changed(ReplayFleet(), [], ["x"])

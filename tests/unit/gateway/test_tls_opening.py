"""Which certificate is used where, and what is told of it."""

from pathlib import Path

import pytest
from tests.certificate import Authority

from cortex.contract.error import ConfigError
from cortex.fleet.effect import Target
from cortex.gateway.settings import GatewaySection, GatewaySettings, NeuronEntry
from cortex.gateway.tls_opening import GatewayTls
from cortex.kit.certificate import not_after_s


def entry(name: str, folder: Path, **files: str) -> NeuronEntry:
    return NeuronEntry(name=name, endpoint=f"https://{name}:9090", **files)


def target(url: str, node: str = "beast") -> Target:
    return Target(node=node, model="m", generation=1, url=url, engine_model="m")


def test_without_certificates_there_is_no_tls_of_our_own() -> None:
    tls = GatewayTls(GatewaySettings(neurons=(NeuronEntry(name="beast", endpoint="http://beast:9090"),)))
    assert (tls.door, tls.metrics_door, tls.scheme) == (None, None, "http")
    assert tls.of_node("beast")() is None
    assert tls.of_target(target("https://beast:9090/relay/abc")) is None
    assert [sample for metric in tls.collect() for sample in metric.samples] == []
    tls.reload()


def test_the_metrics_door_may_go_without(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("gateway")
    section = GatewaySection(tls_cert=pair.cert, tls_key=pair.key)
    tls = GatewayTls(GatewaySettings(gateway=section))
    assert tls.door is tls.metrics_door is not None
    section = GatewaySection(tls_cert=pair.cert, tls_key=pair.key, metrics_tls=False)
    tls = GatewayTls(GatewaySettings(gateway=section))
    assert tls.door is not None
    assert tls.metrics_door is None


def test_only_what_the_neuron_relays_itself_is_asked_with_its_context(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = GatewayTls(GatewaySettings(neurons=(entry("beast", tmp_path, ca_file=authority.file),)))
    own = tls.of_node("beast")()
    assert own is not None
    assert tls.of_target(target("https://beast:9090/relay/abc")) is own
    assert tls.of_target(target("https://api.example.com/v1")) is None
    assert tls.of_target(target("https://beast:9090/relay/abc", node="benjy")) is None


def test_when_certificates_end_is_told_by_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own, shown = authority.issue("gateway"), authority.issue("shown")
    neurons = (
        entry("beast", tmp_path, ca_file=authority.file, cert_file=shown.cert, key_file=shown.key),
        entry("benjy", tmp_path, ca_file=authority.file),
    )
    section = GatewaySection(tls_cert=own.cert, tls_key=own.key)
    tls = GatewayTls(GatewaySettings(gateway=section, neurons=neurons))
    (metric,) = tls.collect()
    told = {sample.labels["certificate"]: sample.value for sample in metric.samples}
    ends = {name: not_after_s(Path(pair.cert).read_text()) for name, pair in (("gateway", own), ("to beast", shown))}
    assert told == ends


def test_a_change_is_read_everywhere(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.issue("gateway")
    neurons = (entry("beast", tmp_path, ca_file=authority.file),)
    section = GatewaySection(tls_cert=own.cert, tls_key=own.key)
    tls = GatewayTls(GatewaySettings(gateway=section, neurons=neurons))
    before = tls.of_node("beast")()
    tls.reload()
    assert tls.of_node("beast")() is not before


def test_what_is_wrong_is_told_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"neurons\.beast\.ca_file"):
        GatewayTls(GatewaySettings(neurons=(entry("beast", tmp_path, ca_file=str(tmp_path / "none")),)))

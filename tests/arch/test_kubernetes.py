"""The manifests are what Kubernetes' API knows, fit each other, and have configuration that the programs can load."""

import importlib.util
import json
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import yaml
from tests.arch.kubernetes_field import PLACE, RECORD, definition_of, mistakes, objects

from cortex.gateway.catalogue import read_catalogue
from cortex.gateway.settings import load_gateway_settings
from cortex.neuron.settings import load_neuron_settings

RECORDED: dict[str, Any] = json.loads(RECORD.read_text())
OBJECTS = objects(PLACE)
KUSTOMIZATION = yaml.safe_load((PLACE / "kustomization.yaml").read_text())
GENERATED = {
    entry["name"]: [name.rsplit("/", 1)[-1] for name in entry["files"]] for entry in KUSTOMIZATION["configMapGenerator"]
}
GATEWAY = load_gateway_settings(PLACE / "cortex.toml", {})
NEURON = load_neuron_settings(PLACE / "neuron.toml", {})
AFTER_STREAMS_S = 30
"""Goodbyes, the ledger and responses take up to 6 s; a loaded machine may take longer."""
STOP_ENGINES_S = 60

SPEC = importlib.util.spec_from_file_location("neurons", PLACE / "neurons.py")
assert SPEC is not None
assert SPEC.loader is not None
NEURONS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(NEURONS)


def of(kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


DEPLOYMENT, DAEMONS = of("Deployment", "cortex-gateway"), of("DaemonSet", "cortex-neuron")
WORKLOADS = [pytest.param(one, id=one["kind"]) for one in (DEPLOYMENT, DAEMONS)]


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def containers(workload: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod(workload).get("initContainers", []), *pod(workload)["containers"]]


@pytest.mark.parametrize("one", OBJECTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_an_object_has_only_fields_that_the_api_knows(one: dict[str, Any]) -> None:
    assert list(mistakes(one, definition_of(one, RECORDED), RECORDED)) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("spec", "template", "spec", "terminationGracePeriod"), 3, "terminationGracePeriod is no field of PodSpec"),
        (("spec", "replicas"), "2", "'2' is no integer"),
        (("spec", "selector"), None, "expected an object"),
        (("spec", "template", "spec", "containers"), [{}], "name is missing"),
    ],
)
def test_a_mistake_in_an_object_is_found(path: tuple[str, ...], value: object, words: str) -> None:
    broken = json.loads(json.dumps(DEPLOYMENT))
    inner = broken
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert any(words in one for one in mistakes(broken, definition_of(broken, RECORDED), RECORDED))


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_selector_finds_its_own_pods(workload: dict[str, Any]) -> None:
    wanted = workload["spec"]["selector"]["matchLabels"].items()
    assert wanted <= workload["spec"]["template"]["metadata"]["labels"].items()


def test_services_budgets_and_policies_are_about_pods_that_there_are() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"].items() for one in (DEPLOYMENT, DAEMONS)]
    selectors = [one["spec"]["selector"] for one in OBJECTS if one["kind"] == "Service"]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in OBJECTS if one["kind"] == "PodDisruptionBudget"]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in OBJECTS if one["kind"] == "NetworkPolicy"]
    assert len(selectors) == 5
    assert [one for one in selectors if not any(one.items() <= known for known in labels)] == []


def ports(workload: dict[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for one in containers(workload) for port in one.get("ports", [])}


def test_the_ports_are_those_of_the_configuration() -> None:
    assert ports(DEPLOYMENT) == {"api": 8000, "metrics": 9100}
    assert (GATEWAY.gateway.listen, GATEWAY.gateway.metrics_listen) == ("0.0.0.0:8000", "0.0.0.0:9100")
    assert ports(DAEMONS) == {"neuron": NEURON.port}
    named = [port["targetPort"] for one in OBJECTS if one["kind"] == "Service" for port in one["spec"]["ports"]]
    assert set(named) <= set(ports(DEPLOYMENT))


def test_probes_ask_what_the_programs_answer() -> None:
    for workload, started in ((DEPLOYMENT, "/livez"), (DAEMONS, "/readyz")):
        (container,) = pod(workload)["containers"]
        asked = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
        assert {kind: get["path"] for kind, get in asked.items()} == {
            "startupProbe": started, "readinessProbe": "/readyz", "livenessProbe": "/livez",
        }  # fmt: skip
        assert {get["port"] for get in asked.values()} <= set(ports(workload))


def test_a_gateway_is_given_time_for_its_streams() -> None:
    """``drain_delay_s`` is for load balancers that have not heard yet: as long as they may take at the least."""
    needed_s = GATEWAY.gateway.drain_delay_s + GATEWAY.gateway.shutdown_grace_s + AFTER_STREAMS_S
    assert pod(DEPLOYMENT)["terminationGracePeriodSeconds"] >= needed_s
    (container,) = pod(DEPLOYMENT)["containers"]
    assert "lifecycle" not in container, "the image has nothing that a hook could run"
    readiness = container["readinessProbe"]
    assert GATEWAY.gateway.drain_delay_s >= readiness["periodSeconds"] * readiness["failureThreshold"]


def test_a_neuron_is_given_time_for_its_engines_which_end_with_it() -> None:
    assert not NEURON.keep_engines
    assert pod(DAEMONS)["terminationGracePeriodSeconds"] >= NEURON.drain_timeout_s + STOP_ENGINES_S


def test_gateways_are_never_all_away() -> None:
    spec = DEPLOYMENT["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert of("PodDisruptionBudget", "cortex-gateway")["spec"]["minAvailable"] == 1


@pytest.mark.parametrize("workload", WORKLOADS)
def test_nothing_runs_with_more_rights_than_it_needs(workload: dict[str, Any]) -> None:
    assert pod(workload)["automountServiceAccountToken"] is False
    assert pod(workload)["securityContext"]["runAsNonRoot"] is True
    for container in containers(workload):
        rights = container["securityContext"]
        assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
        assert rights["capabilities"]["drop"] == ["ALL"]
        if rights.get("runAsUser") == 0:
            assert (container["command"][0], rights["capabilities"]["add"]) == ("chown", ["CHOWN"])


@pytest.mark.parametrize("workload", WORKLOADS)
def test_everything_that_is_mounted_is_there(workload: dict[str, Any]) -> None:
    volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
    mounted = {mount["name"] for container in containers(workload) for mount in container["volumeMounts"]}
    assert mounted == set(volumes)
    for volume in volumes.values():
        if "configMap" in volume:
            kept = GENERATED[volume["configMap"]["name"]]
            assert [item["key"] for item in volume["configMap"].get("items", [])] in ([], kept)


def test_gateways_get_the_store_as_a_secret_and_a_name_of_their_own() -> None:
    (container,) = pod(DEPLOYMENT)["containers"]
    env = {one["name"]: one["valueFrom"] for one in container["env"]}
    assert env["CORTEX_STORE__URL"]["secretKeyRef"]["key"] == "url"
    assert env["CORTEX_GATEWAY__GATEWAY_ID"]["fieldRef"]["fieldPath"] == "metadata.name"
    said = {"CORTEX_STORE__URL": "postgresql://cortex@db/cortex", "CORTEX_GATEWAY__GATEWAY_ID": "cortex-gateway-7d9-x"}
    loaded = load_gateway_settings(PLACE / "cortex.toml", said)
    assert (loaded.store.url, loaded.gateway.gateway_id) == tuple(said.values())


def test_gateways_and_neurons_have_one_token() -> None:
    mounts = {
        mount["mountPath"]: volume["secret"]["secretName"]
        for workload in (DEPLOYMENT, DAEMONS)
        for container in containers(workload)
        for mount in container["volumeMounts"]
        for volume in pod(workload)["volumes"]
        if volume["name"] == mount["name"] and "secret" in volume
    }
    assert mounts == {"/run/cortex-neuron": "cortex-neuron-token"}
    assert {NEURON.token_file, *(entry.token_file for entry in GATEWAY.neurons)} == {"/run/cortex-neuron/token"}


def test_engines_have_the_ports_that_gateways_may_reach() -> None:
    _, to_engines = of("NetworkPolicy", "cortex-neuron")["spec"]["ingress"]
    (span,) = to_engines["ports"]
    assert [harness.port_range for harness in NEURON.harnesses] == [(span["port"], span["endPort"])]
    (source,) = to_engines["from"]
    assert source["podSelector"]["matchLabels"] == DEPLOYMENT["spec"]["selector"]["matchLabels"]


def test_the_catalogue_names_harnesses_that_the_neurons_have() -> None:
    names = {harness.name for harness in NEURON.harnesses}
    assert {profile.harness for profile in read_catalogue(PLACE / "models.toml")} <= names


NODES = {
    "items": [
        {"metadata": {"name": name}, "status": {"addresses": [{"type": "Hostname", "address": name}, *ips]}}
        for name, ips in (
            (
                "gpu-b",
                [{"type": "ExternalIP", "address": "203.0.113.9"}, {"type": "InternalIP", "address": "10.0.0.2"}],
            ),
            ("gpu-a", [{"type": "InternalIP", "address": "fd00::a"}, {"type": "InternalIP", "address": "10.0.0.1"}]),
        )
    ]
}


def test_the_list_of_neurons_is_made_of_the_clusters_nodes(tmp_path: Any) -> None:
    (tmp_path / "cortex.toml").write_text("")
    (tmp_path / "conf.d").mkdir()
    told = subprocess.run(
        [sys.executable, PLACE / "neurons.py"], input=json.dumps(NODES), text=True, capture_output=True, check=True
    )
    (tmp_path / "conf.d" / "neurons.toml").write_text(told.stdout)
    found = load_gateway_settings(tmp_path / "cortex.toml", {}).neurons
    assert [(entry.name, entry.endpoint) for entry in found] == [
        ("gpu-a", "http://[fd00::a]:9090"), ("gpu-b", "http://10.0.0.2:9090"),
    ]  # fmt: skip


def test_the_example_list_has_the_form_that_is_made() -> None:
    entries = tomllib.loads((PLACE / "conf.d" / "neurons.toml").read_text())["neurons"]
    nodes = [
        {
            "metadata": {"name": entry["name"]},
            "status": {"addresses": [{"type": "InternalIP", "address": entry["endpoint"].split("/")[2].split(":")[0]}]},
        }
        for entry in entries
    ]
    text = NEURONS.render(nodes, port=DAEMONS_PORT, token_file="/run/cortex-neuron/token")
    assert tomllib.loads(text)["neurons"] == entries


(DAEMONS_PORT,) = (port["hostPort"] for port in pod(DAEMONS)["containers"][0]["ports"])


@pytest.mark.parametrize(
    ("nodes", "words"),
    [([], "no node"), ([{"metadata": {"name": "x"}, "status": {"addresses": []}}], "x has no InternalIP")],
)
def test_a_list_of_nobody_is_not_made(nodes: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NEURONS.render(nodes, port=9090, token_file="t")


def test_prometheus_operator_calls_the_jobs_as_alerts_and_dashboards_do() -> None:
    services, pods = objects(PLACE / "monitoring")
    rules = (PLACE.parent / "prometheus" / "cortex.rules.yml").read_text()
    known = [one for one in OBJECTS if one["kind"] == "Service"]
    (shown,) = [
        one["metadata"]["labels"] for one in known
        if services["spec"]["selector"]["matchLabels"].items() <= one["metadata"].get("labels", {}).items()
    ]  # fmt: skip
    assert f'job="{shown[services["spec"]["jobLabel"]]}"' in rules
    labels = DAEMONS["spec"]["template"]["metadata"]["labels"]
    assert pods["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert f'job="{labels[pods["spec"]["jobLabel"]]}"' in rules
    (endpoint,) = pods["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in ports(DAEMONS)
    assert [rule["targetLabel"] for rule in endpoint["relabelings"]] == ["node"]

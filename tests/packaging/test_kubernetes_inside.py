"""What a pod of the manifests sees: a program finds its configuration, token and folders, as its image's user."""

import re
from pathlib import PurePosixPath
from typing import Any

import pytest
from tests.arch.kubernetes_field import PLACE, objects
from tests.arch.test_kubernetes import (
    DAEMONS,
    DEPLOYMENT,
    GATEWAY,
    GENERATED,
    KUSTOMIZATION,
    NEURON,
    OBJECTS,
    containers,
    pod,
    ports,
)

from cortex.cli.command import app as gateway_app

CONTAINER = PLACE.parent / "container"
IMAGES = {"cortex": CONTAINER / "gateway.Containerfile", "cortex-neuron": CONTAINER / "neuron.Containerfile"}
PAGE = (PLACE.parents[1] / "docs/operations/kubernetes.md").read_text()
WORKLOADS = [pytest.param(one, id=one["kind"]) for one in (DEPLOYMENT, DAEMONS)]
each = pytest.mark.parametrize("workload", WORKLOADS)


def main_of(workload: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod(workload)["containers"]
    found: dict[str, Any] = container
    return found


def mounts(container: dict[str, Any]) -> dict[str, str]:
    """Return what is mounted in a container: places and the names of their volumes."""
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


def volumes(workload: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {volume["name"]: volume for volume in pod(workload)["volumes"]}


def configured(workload: dict[str, Any]) -> set[str]:
    """Return the paths of the files that ConfigMaps put into the main container."""
    found = set()
    for place, name in mounts(main_of(workload)).items():
        if shown := volumes(workload)[name].get("configMap"):
            names = [item["path"] for item in shown.get("items", [])] or GENERATED[shown["name"]]
            found |= {f"{place}/{file}" for file in names}
    return found


def config_of(workload: dict[str, Any]) -> str:
    *_, option, path = main_of(workload)["args"]
    assert option == "--config"
    return str(path)


def image_of(workload: dict[str, Any]) -> str:
    (name,) = {container["image"] for container in containers(workload)}
    return IMAGES[name].read_text()


def said(word: str, text: str) -> str:
    return re.findall(rf"^{word} (.*)$", text, re.MULTILINE)[-1]


@each
def test_a_program_is_started_with_a_configuration_that_is_mounted(workload: dict[str, Any]) -> None:
    assert config_of(workload) in configured(workload)


def test_the_gateway_is_started_by_a_command_that_it_has_with_its_other_files_beside_the_first() -> None:
    verb = main_of(DEPLOYMENT)["args"][0]
    assert verb in {command.name or command.callback.__name__ for command in gateway_app.registered_commands}  # type: ignore[union-attr]
    folder = PurePosixPath(config_of(DEPLOYMENT)).parent
    assert {f"{folder}/models.toml", f"{folder}/conf.d/neurons.toml"} <= configured(DEPLOYMENT)


@each
def test_it_runs_as_the_user_of_its_image(workload: dict[str, Any]) -> None:
    uid, gid = said("USER", image_of(workload)).split(":")
    rights = pod(workload)["securityContext"]
    assert (rights["runAsUser"], rights["runAsGroup"], rights["fsGroup"]) == (int(uid), int(gid), int(gid))


def test_a_nodes_folder_is_given_to_the_neuron_that_writes_there() -> None:
    (giver,) = pod(DAEMONS)["initContainers"]
    state = said("WORKDIR", image_of(DAEMONS))
    assert giver["command"] == ["chown", said("USER", image_of(DAEMONS)), state]
    assert mounts(giver)[state] == mounts(main_of(DAEMONS))[state]
    assert volumes(DAEMONS)[mounts(giver)[state]]["hostPath"]["path"] == state


@each
def test_what_a_program_writes_with_a_read_only_root_can_be_written(workload: dict[str, Any]) -> None:
    readonly = {mount["mountPath"]: mount.get("readOnly", False) for mount in main_of(workload)["volumeMounts"]}
    assert not readonly["/tmp"]
    assert "emptyDir" in volumes(workload)[mounts(main_of(workload))["/tmp"]]
    assert readonly["/etc/cortex"]


def test_models_and_shared_memory_are_where_the_neuron_and_its_engines_look() -> None:
    places = mounts(main_of(DAEMONS))
    assert set(NEURON.model_dirs) <= set(places)
    assert volumes(DAEMONS)[places["/dev/shm"]]["emptyDir"]["medium"] == "Memory"


@each
def test_the_token_is_where_the_configuration_says_and_the_daemons_group_reads_it(workload: dict[str, Any]) -> None:
    named = {NEURON.token_file, *(entry.token_file for entry in GATEWAY.neurons)}
    (path,) = {PurePosixPath(str(one)) for one in named}
    secret = volumes(workload)[mounts(main_of(workload))[str(path.parent)]]["secret"]
    assert secret["defaultMode"] == 0o440
    assert f"create secret generic {secret['secretName']} --from-literal={path.name}=" in PAGE
    (_, pods) = objects(PLACE / "monitoring")
    (endpoint,) = pods["spec"]["podMetricsEndpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": secret["secretName"], "key": path.name}


def test_secrets_of_the_environment_are_those_that_the_page_makes() -> None:
    wanted = [
        one["valueFrom"]["secretKeyRef"] for one in main_of(DEPLOYMENT)["env"] if "secretKeyRef" in one["valueFrom"]
    ]
    assert wanted
    assert all(f"create secret generic {ref['name']} --from-literal={ref['key']}=" in PAGE for ref in wanted)


def test_every_image_is_one_that_kustomize_renames() -> None:
    used = {container["image"] for workload in (DEPLOYMENT, DAEMONS) for container in containers(workload)}
    assert used == {image["name"] for image in KUSTOMIZATION["images"]} == set(IMAGES)


def test_everything_in_the_folder_is_applied_and_what_is_applied_is_there() -> None:
    listed = [
        *KUSTOMIZATION["resources"],
        *(file for one in KUSTOMIZATION["configMapGenerator"] for file in one["files"]),
    ]
    assert [name for name in listed if not (PLACE / name).is_file()] == []
    there = {
        str(path.relative_to(PLACE))
        for pattern in ("*.yaml", "*.toml", "conf.d/*.toml")
        for path in PLACE.glob(pattern)
    }
    assert there - {"kustomization.yaml"} == set(listed)


def test_ports_that_are_called_by_a_name_have_it_in_the_pods_that_are_meant() -> None:
    pods = [(one["spec"]["template"]["metadata"]["labels"].items(), set(ports(one))) for one in (DEPLOYMENT, DAEMONS)]
    for policy in (one for one in OBJECTS if one["kind"] == "NetworkPolicy"):
        meant = policy["spec"]["podSelector"]["matchLabels"].items()
        (known,) = [names for labels, names in pods if meant <= labels]
        named = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert {port for port in named if isinstance(port, str)} == known, policy["metadata"]["name"]


def test_prometheus_asks_ports_that_services_and_pods_have() -> None:
    services, pods = objects(PLACE / "monitoring")
    shown = {port["name"] for one in OBJECTS if one["kind"] == "Service" for port in one["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in services["spec"]["endpoints"]} <= shown
    assert {endpoint["port"] for endpoint in pods["spec"]["podMetricsEndpoints"]} <= set(ports(DAEMONS))


def test_a_neuron_is_on_nodes_with_gpus_and_has_them() -> None:
    """By the runtime of NVIDIA, and the image's NVIDIA_VISIBLE_DEVICES: the scheduler is asked for none."""
    spec = pod(DAEMONS)
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists"} in spec["tolerations"]
    assert not any("nvidia.com/gpu" in one["resources"].get("limits", {}) for one in spec["containers"])

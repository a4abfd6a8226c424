"""kubectl: objects, secrets, labels and ports are those of the manifests; what runs in a pod, runs here."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

PLACE = Path("packaging/kubernetes")
NODE = {"metadata": {"name": "beast"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}
KINDS = {"deploy": "Deployment", "deployment": "Deployment", "service": "Service"}


def objects() -> list[dict[str, Any]]:
    """Return what is made in the cluster; the list of it has no name of its own."""
    found = [one for path in sorted(PLACE.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
    return [one for one in found if "metadata" in one]


def kubectl(words: list[str]) -> None:
    (namespace,) = [one["metadata"]["name"] for one in objects() if one["kind"] == "Namespace"]
    if words[0] == "-n":
        assert words[1] == namespace, f"everything is in {namespace}"
        words = words[2:]
    match words:
        case ["create", "namespace", name]:
            assert name == namespace, f"everything is in {namespace}"
        case ["create", "secret", "generic", name, given] if given.startswith("--from-literal="):
            key, _, value = given.removeprefix("--from-literal=").partition("=")
            assert value, "the secret is empty"
            assert key in secrets().get(name, set()), f"nobody asks for {key} of {name}: {secrets()}"
        case ["get", "nodes", "-l", label, "-o", "json"]:
            key, _, value = label.partition("=")
            (daemons,) = [one for one in objects() if one["kind"] == "DaemonSet"]
            assert daemons["spec"]["template"]["spec"]["nodeSelector"] == {key: value}
            print(json.dumps({"items": [NODE]}))
        case ["apply", "-k", folder]:
            kustomization = yaml.safe_load((Path(folder) / "kustomization.yaml").read_text())
            named = kustomization["resources"]
            assert [name for name in named if not (Path(folder) / name).exists()] == []
        case ["rollout", "status", name]:
            found(name)
        case ["exec", name, "--", *command]:
            found(name)
            os.execvp(command[0], command)
        case ["port-forward", name, ports]:
            served = [str(port["port"]) for port in found(name)["spec"]["ports"]]
            assert ports.split(":")[1] in served, f"it has {served}"
        case _:
            raise AssertionError("is unknown")
    if words[0] != "get":
        print("would", *words[:2])


def found(name: str) -> dict[str, Any]:
    """Return the object of a name such as ``deploy/cortex-gateway``."""
    kind, _, name = name.partition("/")
    fitting = [one for one in objects() if (one["kind"], one["metadata"]["name"]) == (KINDS[kind], name)]
    assert fitting, "there is none of that name"
    return fitting[0]


def secrets() -> dict[str, set[str]]:
    """Return which secrets the manifests ask for, with their keys. A mounted one is asked for by the file's name."""
    said: dict[str, set[str]] = {}
    for one in walk(objects()):
        if "secretKeyRef" in one:
            said.setdefault(one["secretKeyRef"]["name"], set()).add(one["secretKeyRef"]["key"])
        if "secretName" in one:
            keys = {item["key"] for item in one.get("items", [])} or {"token"}
            said.setdefault(one["secretName"], set()).update(keys)
    return said


def walk(value: Any) -> Any:
    """Yield every table of a document."""
    if isinstance(value, dict):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(below)

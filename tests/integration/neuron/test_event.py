"""The stream of a real neuron's changes, with a real engine that comes and goes."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.neuron.neuron_process import LIMIT_S, neuron

ENDING = "keep_engines = false\ndrain_timeout_s = 5\n"


def told(url: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield id and body of every message until the stream ends."""
    with urllib.request.urlopen(url + "/events", timeout=LIMIT_S) as stream:
        number = ""
        for line in stream:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            number = value if name == "id" else number
            if name == "data":
                yield number, json.loads(value)


def test_a_load_and_an_unload_are_told_and_the_stream_ends_with_the_neuron(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        stream = told(node.url)
        _, snapshot = next(stream)
        assert snapshot["models"] == []
        node.loaded("demo", demo)
        node.unload("demo")
        states: list[str] = []
        while states[-1:] != ["unloaded"]:
            number, change = next(stream)
            states += [model["status"] for model in change["models"] if model["status"] not in states[-1:]]
        assert states == ["loading", "loaded", "draining", "unloading", "unloaded"]
        assert number == f"{snapshot['start_id']}:{change['event']}"
        assert node.stop() == 0
        assert all(change["models"] == [] for _, change in stream)

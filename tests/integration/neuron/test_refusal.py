"""Loads that cannot be are refused before anything is done, with what would be right; and logs can be followed."""

import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.neuron.neuron_process import LIMIT_S, neuron

ENDING = 'host = "127.0.0.1"\nkeep_engines = false\ndrain_timeout_s = 5\n'
HARNESSES = """
[[harnesses]]
name = "llamacpp"

[[harnesses]]
name = "gone"
kind = "llamacpp"
binary = "/no/such/llama-server"

[[harnesses]]
name = "served"
kind = "command"
cmd = "sh -c true ${PORT}"
"""


def test_every_load_that_cannot_be_is_refused_with_what_would_be_right(tmp_path: Path, demo: Path) -> None:
    quants = tmp_path / "quants"
    quants.mkdir()
    for quant in ("Q4_K_M", "Q8_0"):
        (quants / f"m-{quant}.gguf").write_bytes(b"GGUF")
    good = {"model_id": "lab/m", "harness": "llamacpp", "source": str(demo)}
    rows: list[tuple[dict[str, Any], str, str]] = [
        ({"harness": "nope"}, "unknown_harness", "there are: llamacpp, gone, served"),
        ({"harness": "gone"}, "harness_unusable", "/no/such/llama-server: no such executable file"),
        ({"source": "/no/such.gguf"}, "source_missing", "no such file on this node"),
        ({"source": "m.gguf"}, "source_missing", "give an absolute path, or hf:<repo>[:<file>]"),
        ({"source": str(quants), "quant": "Q2_K"}, "source_missing", "there are: m-Q4_K_M.gguf, m-Q8_0.gguf"),
        ({"source": str(quants / "m-Q8_0.gguf"), "quant": "Q2_K"}, "source_missing", "says Q8_0, not Q2_K"),
        ({"source": None}, "source_missing", "give `source`"),
        ({"devices": [7]}, "no_such_device", "device 7 does not exist; this node has: 0 ("),
        ({"devices": [0], "tensor_parallel": 2}, "malformed_request", "tensor_parallel is 2, but devices names 1"),
        ({"devices": [0, 0]}, "malformed_request", "names one twice"),
        ({"tensor_parallel": 9}, "no_such_device", "not 9 devices"),
        ({"args": ["--slot-save-path", "/"]}, "malformed_request", "--slot-save-path cannot be given by a load"),
        ({"args": ["--mcp_servers-json", "{}"]}, "malformed_request", "cannot be given by a load"),
        ({"args": ["--api-key", "x"]}, "malformed_request", "the neuron sets it itself"),
        ({"args": ["--ctx-size", "9"]}, "malformed_request", "`context` of the load says that"),
        ({"parallel": 0}, "malformed_request", "parallel: expected at least 1, got 0"),
        ({"vram": 5}, "malformed_request", "its fields are: model_id, harness"),
        ({"harness": "served", "quant": "fp8"}, "malformed_request", "leave it out, or add it there"),
        ({"harness": "served", "args": ["--x"]}, "malformed_request", "`allow_args` let loads give it"),
        ({"harness": "served", "model_id": "-x"}, "malformed_request", "do not begin with a dash"),
    ]
    with neuron(tmp_path, HARNESSES, head=ENDING) as node:
        for changes, code, words in rows:
            body = {key: value for key, value in {**good, **changes}.items() if value is not None}
            status, answer = node.get("/models/load", body)
            assert (status, answer["error"]["code"]) == (400, code), (changes, answer)
            assert words in answer["error"]["message"], (changes, answer)
        assert node.get("/models")[1] == [], "nothing was begun"
        assert list((tmp_path / "state" / "engine").iterdir()) == []


def test_a_log_is_followed_until_its_life_ends_and_a_reader_may_leave(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, HARNESSES, head=ENDING) as node:
        node.loaded("lab/demo", demo)
        url = f"{node.url}/models/lab/demo/logs?lines=1000&follow=true"
        with urllib.request.urlopen(url, timeout=LIMIT_S) as left_early:
            assert left_early.readline()
        with urllib.request.urlopen(url, timeout=LIMIT_S) as stream:
            assert stream.headers["content-type"].startswith("text/plain")
            assert stream.readline()
            assert node.unload("lab/demo")[0] == 200
            assert b"listening" in stream.read(), "all of it came, and then its end"

"""Keys of an entry that its kind does nothing with are found, and those that it uses are not."""

import ast
from typing import Any, TypeGuard

import msgspec
import pytest
from tests.arch.source import modules, tree

from cortex.neuron.entry_key import USED, idle_keys
from cortex.neuron.harness.registry import BUILT_IN
from cortex.neuron.settings import HarnessEntry


@pytest.mark.parametrize(
    ("fields", "idle"),
    [
        ({"kind": "llamacpp", "binary": "x", "args": ("--y",), "port_range": (1, 2), "relay": True}, []),
        ({"kind": "llamacpp", "cmd": "x", "endpoint": "http://h"}, ["endpoint", "cmd"]),
        ({"kind": "command", "cmd": "x ${PORT}", "stop_grace_s": 0.0, "binary": "x"}, ["binary"]),
        ({"kind": "vllm", "binary": "x", "ready_path": "/x"}, []),
        ({"kind": "openai", "endpoints": ("http://h",), "key_file": "k", "models": ()}, []),
        ({"kind": "openai", "endpoint": "http://h", "systemd_unit": "x", "env": {"A": "1"}}, ["systemd_unit", "env"]),
        ({"kind": "comfyui", "endpoint": "http://h", "systemd_unit": "x", "env": {"CUDA_VISIBLE_DEVICES": "1"}}, []),
        ({"kind": "abacus", "cmd": "x", "endpoint": "http://h"}, []),
    ],
)
def test_what_a_kind_does_nothing_with_is_named(fields: dict[str, Any], idle: list[str]) -> None:
    assert list(idle_keys(HarnessEntry(name="lab", **fields))) == idle


def test_every_built_in_kind_is_known() -> None:
    assert set(USED) == set(BUILT_IN)


def test_every_key_is_used_by_some_kind_and_only_keys_are() -> None:
    keys = {field.name for field in msgspec.structs.fields(HarnessEntry)}
    assert set().union(*USED.values()) == keys - {"name", "kind"}


def test_the_code_reads_no_key_that_its_kind_is_not_said_to_use() -> None:
    """By the words ``entry.<key>`` in the one file of a kind."""
    for kind in ("llamacpp", "openai", "comfyui"):
        (file,) = (path for path in modules("cortex.neuron.harness") if path.stem == kind)
        read = {node.attr for node in ast.walk(tree(file)) if _is_entrys(node)}
        assert read - {"name", "kind"} <= USED[kind], kind


def _is_entrys(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("entry", "self._entry")

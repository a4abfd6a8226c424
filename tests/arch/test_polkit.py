"""The polkit rule that is shipped lets a neuron do what its harnesses do with systemd, and nothing else."""

import ast
import re

import pytest
from tests.arch.source import ROOT, SRC, tree

RULE = (ROOT / "packaging" / "polkit" / "50-cortex-neuron.rules").read_text()
SYSTEMD = SRC / "cortex" / "neuron" / "process" / "systemd.py"


def pattern() -> re.Pattern[str]:
    """Return the expression that a unit's name has to match; its syntax means the same to both languages."""
    (found,) = re.findall(r"/(\^.*\$)/\.test\(action\.lookup\(\"unit\"\)\)", RULE)
    return re.compile(found)


def asked_verbs() -> set[str]:
    """Return the verbs that the neuron asks systemd for."""
    calls = [node for node in ast.walk(tree(SYSTEMD)) if isinstance(node, ast.Call)]
    return {
        argument.value
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "_act"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


def test_every_verb_that_the_neuron_asks_for_is_allowed() -> None:
    allowed = set(re.findall(r'"([a-z-]+)"', re.findall(r"\[(.*?)\]\.indexOf", RULE)[0]))
    assert asked_verbs()
    assert asked_verbs() <= allowed


ENGINES = ["mistralrs.service", "mistralrs@gpu0.service", "cortex-engine@comfyui.service", "comfyui.service"]


@pytest.mark.parametrize("unit", ENGINES)
def test_the_engines_units_are_the_neurons(unit: str) -> None:
    assert pattern().search(unit)


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "sshd.service",
            "mistralrs.socket",
            "mistralrs@a/../b.service",
            "xmistralrs.service",
            "mistralrs.service.d",
            "",
        ),
        *("cortex-engine.service", "cortex-engine@.service", "cortex-engine@a b.service", "comfyui@a.service"),
        *("cortex.service", "cortex-neuron.service"),
    ],
)
def test_other_units_are_not(unit: str) -> None:
    assert not pattern().search(unit)


def test_only_the_neurons_user_and_only_units_are_meant() -> None:
    assert 'subject.user === "cortex-neuron"' in RULE
    assert 'action.id === "org.freedesktop.systemd1.manage-units"' in RULE

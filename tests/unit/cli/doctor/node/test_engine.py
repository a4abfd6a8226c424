"""Engines are judged by whether they are there, fit driver and GPUs, and may be started."""

from collections.abc import Sequence

import pytest
from tests.arch.source import ROOT

from cortex.cli.doctor.node.engine import (
    Unit,
    judge_capability,
    judge_cuda,
    judge_engines,
    judge_rule,
    judge_selinux,
    judge_systemd,
    judge_units,
)
from cortex.contract.node import Device, HarnessDetail
from cortex.neuron.process.systemd import UnitState

RULE = (ROOT / "packaging" / "polkit" / "50-cortex-neuron.rules").read_text()


def detail(*, usable: bool = True, cuda: str | None = None, name: str = "mistralrs") -> HarnessDetail:
    why = None if usable else "not installed"
    return HarnessDetail(name=name, kind=name, usable=usable, why_not=why, engine_cuda=cuda)


def unit(load: str = "loaded", active: str = "active", name: str = "mistralrs.service") -> Unit:
    return Unit("mistralrs", name, UnitState(load, active, "running", "exit-code"))


@pytest.mark.parametrize(
    ("details", "results"),
    [
        ([], ["fail"]),
        ([detail()], ["ok"]),
        ([detail(), detail(usable=False, name="vllm")], ["ok", "warn"]),
        ([detail(usable=False)], ["fail"]),
    ],
    ids=["none", "one", "some", "unusable"],
)
def test_a_node_without_an_engine_is_broken_and_with_fewer_is_odd(
    details: list[HarnessDetail], results: list[str]
) -> None:
    assert [each.result for each in judge_engines(details)] == results


@pytest.mark.parametrize(
    ("built", "supported", "capabilities", "result", "words"),
    [
        ("12.8", "12.8", ["8.9"], "ok", "built for CUDA 12.8"),
        ("12", "13.1", ["8.9"], "ok", "supports 13.1"),
        ("13.0", "12.8", ["8.9"], "fail", "supports CUDA 12.8 at most"),
        ("13.0", "13.1", ["8.9", "7.0"], "fail", "one here is 7.0"),
        ("13.0", "13.1", ["7.5"], "ok", "13.0"),
        ("13.0", None, [""], "ok", "nobody knows"),
        (None, "13.1", ["8.9"], "ok", "no engine says"),
    ],
)
def test_an_engines_cuda_fits_driver_and_gpus(
    built: str | None, supported: str | None, capabilities: Sequence[str], result: str, words: str
) -> None:
    (found,) = judge_cuda([detail(cuda=built)], supported, "595.1", capabilities)
    assert found.result == result
    assert words in found.found + found.means


@pytest.mark.parametrize(
    ("capabilities", "results"),
    [(["12.0"], []), (["8.9"], ["fail"]), (["12.0", "8.9"], ["warn"]), ([None], []), ([], [])],
    ids=["fits", "fits none", "fits one of two", "nobody knows", "no GPU"],
)
def test_an_engine_built_for_other_gpus_is_broken_and_for_some_of_them_odd(
    capabilities: Sequence[str | None], results: list[str]
) -> None:
    devices = [
        Device(index=index, name=f"GPU {index}", vram_total_mb=1, compute_capability=capability)
        for index, capability in enumerate(capabilities)
    ]
    built = HarnessDetail(name="mistralrs", kind="mistralrs", usable=True, engine_capability="12.0")
    found = list(judge_capability([built, detail()], devices))
    assert [each.result for each in found] == results
    assert all("(8.9)" in each.means for each in found)


@pytest.mark.parametrize(
    ("said", "units", "result"),
    [
        ("running", [unit()], "ok"),
        ("degraded", [unit()], "ok"),
        ("offline", [], "ok"),
        ("", [], "ok"),
        ("offline", [unit()], "fail"),
        ("", [unit()], "fail"),
    ],
)
def test_systemd_matters_to_who_has_a_unit(said: str, units: list[Unit], result: str) -> None:
    assert judge_systemd(said, units).result == result


@pytest.mark.parametrize(
    ("one", "result", "words"),
    [
        (unit(), "ok", "is active"),
        (unit(active="inactive"), "ok", "is inactive"),
        (unit(active="failed"), "warn", "has failed (exit-code)"),
        (unit(load="not-found"), "fail", "'not-found'"),
        (unit(load="masked"), "fail", "'masked'"),
        (Unit("mistralrs", "mistralrs.service", None), "skipped", "cannot be asked"),
    ],
)
def test_a_unit_is_there(one: Unit, result: str, words: str) -> None:
    (found,) = judge_units([one])
    assert (found.result, words in found.found) == (result, True)
    assert [each.result for each in judge_units([])] == ["ok"]


def test_a_unit_whose_command_nobody_has_written_is_told_with_the_files_name() -> None:
    name, file = "cortex-engine@art.service", "/etc/cortex/engine/art.env"
    (found,) = judge_units([unit(active="inactive", name=name)._replace(missing=file)])
    assert (found.result, found.found) == ("fail", f"{file} is not there")


@pytest.mark.parametrize(
    ("name", "rules", "user", "asked", "result"),
    [
        ("mistralrs.service", [RULE], "cortex-neuron", None, "ok"),
        ("mistralrs@big.service", [RULE], "cortex-neuron", None, "ok"),
        ("mistralrs", [RULE], "cortex-neuron", None, "ok"),
        ("cortex-engine@art.service", [RULE], "cortex-neuron", None, "ok"),
        ("cortex-engine.service", [RULE], "cortex-neuron", None, "warn"),
        ("sshd.service", [RULE], "cortex-neuron", None, "warn"),
        ("sshd.service", ['unit == "sshd.service" && "cortex-neuron"'], "cortex-neuron", None, "ok"),
        ("sshd.service", ["/^(sshd$/.test(", RULE], "cortex-neuron", None, "warn"),
        ("mistralrs.service", [], "cortex-neuron", None, "fail"),
        ("mistralrs.service", None, "cortex-neuron", None, "skipped"),
        ("mistralrs.service", [], "cortex-neuron", True, "ok"),
        ("mistralrs.service", [RULE], "cortex-neuron", False, "fail"),
        ("mistralrs.service", [], "root", None, "ok"),
    ],
    ids=[
        "covered",
        "template",
        "bare",
        "engine",
        "engine without a name",
        "another unit",
        "by name",
        "broken rule",
        "no rule",
        "not to be read",
        "asked yes",
        "asked no",
        "root",
    ],
)
def test_the_neuron_may_start_the_unit(
    name: str, rules: list[str] | None, user: str, asked: bool | None, result: str
) -> None:
    assert judge_rule(unit(name=name), rules, user, asked).result == result


@pytest.mark.parametrize(
    ("enforcing", "labels", "denials", "results"),
    [
        (None, [("/home/me/llama-server", "user_home_t")], ["x"], ["ok"]),
        (1, [("/usr/bin/llama-server", "bin_t")], [], ["ok"]),
        (1, [("/home/me/llama-server", "user_home_t")], [], ["warn"]),
        (0, [("/home/me/llama-server", "user_home_t")], [], ["ok"]),
        (1, [], ["type=AVC comm=llama-server denied { map }"], ["warn"]),
    ],
    ids=["off", "well", "home", "permissive", "denied"],
)
def test_selinux_is_told_where_it_is_in_the_way(
    enforcing: int | None, labels: list[tuple[str, str]], denials: list[str], results: list[str]
) -> None:
    assert [each.result for each in judge_selinux(enforcing, labels, denials)] == results

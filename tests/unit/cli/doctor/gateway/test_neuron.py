"""Of each step to a neuron is said what is wrong with it, and nothing of those that were not made."""

from collections.abc import Callable

import pytest

from cortex.cli.doctor.finding import Finding
from cortex.cli.doctor.gateway import neuron as judge
from cortex.cli.doctor.neuron_look import NeuronLook
from cortex.contract.node import Device, DeviceReading, Discovery, HarnessDetail, Health

WELL = NeuronLook(
    "beast",
    "http://beast:9090",
    has_token=True,
    addresses=("10.0.0.5",),
    status=200,
    discovery=Discovery(
        hostname="beast",
        os="Linux",
        kernel="6",
        neuron_version="0.4.1",
        devices=(Device(index=0, name="RTX", vram_total_mb=8000),),
        harnesses=("llamacpp",),
    ),
    health=Health(uptime_secs=1.0),
    skew_s=0.2,
)
NAMELESS = NeuronLook("beast", "http://beast:9090", why_no_name="Name or service not known")
DEAF = NeuronLook("beast", "http://beast:9090", addresses=("10.0.0.5",), why_no_connection="Connection refused")
STRANGE = NeuronLook("beast", "http://beast:9090", addresses=("10.0.0.5",), why_no_neuron="GET /livez answers 404")


def status(code: int, said: str = "no", **more: object) -> NeuronLook:
    return WELL._replace(status=code, said=said, discovery=None, health=None, **more)


@pytest.mark.parametrize(
    ("judged", "seen", "result", "words"),
    [
        (judge.judge_name, WELL, "ok", "10.0.0.5"),
        (judge.judge_name, NAMELESS, "fail", "Name or service not known"),
        (judge.judge_connection, WELL, "ok", "takes connections"),
        (judge.judge_connection, DEAF, "fail", "Connection refused"),
        (judge.judge_connection, NAMELESS, None, ""),
        (judge.judge_answer, WELL, "ok", "a neuron answers"),
        (judge.judge_answer, STRANGE, "fail", "GET /livez answers 404"),
        (judge.judge_answer, status(503, "it starts"), "warn", "it starts"),
        (judge.judge_answer, status(500), "fail", "it answers 500"),
        (judge.judge_answer, status(401), "ok", "a neuron answers"),
        (judge.judge_answer, DEAF, None, ""),
        (judge.judge_token, WELL, "ok", "lets this gateway in"),
        (judge.judge_token, WELL._replace(has_token=False), "ok", "without a credential"),
        (judge.judge_token, status(401), "fail", "refuses the credential"),
        (judge.judge_token, status(401, has_token=False), "fail", "asks for a credential"),
        (judge.judge_token, status(401, has_token=False, why_no_token="f: gone"), "fail", "f: gone"),
        (
            judge.judge_token,
            status(401, why_no_token="f: closed", is_token_hidden=True),
            "skipped",
            "f: closed",
        ),
        (judge.judge_token, status(403, "not trusted"), "fail", "not trusted"),
        (judge.judge_token, status(503), None, ""),
        (judge.judge_node_clock, WELL, "ok", "agree"),
        (judge.judge_node_clock, WELL._replace(skew_s=-3600.0), "warn", "3600 s behind"),
        (judge.judge_node_clock, NAMELESS, None, ""),
    ],
)
def test_each_step_is_judged_by_itself(
    judged: Callable[[NeuronLook], Finding | None], seen: NeuronLook, result: str | None, words: str
) -> None:
    found = judged(seen)
    assert (None if found is None else found.result) == result
    if found is not None:
        assert found.about == "beast"
        assert words in found.found
        assert bool(found.do) == (result != "ok")
        assert bool(found.means) == (result in ("warn", "fail"))


@pytest.mark.parametrize(
    ("theirs", "ours", "result"),
    [
        ("0.4.1", "0.4.0", "ok"),
        ("0.4.1", "0.5.0", "ok"),
        ("0.5.0", "0.4.1", "ok"),
        ("0.3.0", "0.5.0", "fail"),
        ("1.0.0", "0.9.0", "fail"),
        ("", "0.5.0", "warn"),
    ],
)
def test_versions_may_be_one_minor_apart(theirs: str, ours: str, result: str) -> None:
    discovery = Discovery(hostname="h", os="Linux", kernel="6", neuron_version=theirs)
    found = judge.judge_version(WELL._replace(discovery=discovery), ours)
    assert found is not None
    assert found.result == result
    assert judge.judge_version(NAMELESS, ours) is None


def test_what_a_neuron_says_of_itself_is_told() -> None:
    discovery = Discovery(
        hostname="beast",
        os="Linux",
        kernel="6",
        troubles=("the PCI bus has 2 GPUs, but no driver",),
        harness_details=(HarnessDetail(name="llamacpp", kind="llamacpp", usable=False, why_not="not installed"),),
    )
    health = Health(
        uptime_secs=1.0,
        devices=(DeviceReading(index=0, trouble="silent"), DeviceReading(index=1, recovery_action="gpu_reset")),
        stale=True,
        maintenance=True,
    )
    found = list(judge.said_of([WELL._replace(discovery=discovery, health=health)]))
    assert [(each.result, each.found) for each in found] == [
        ("warn", "the PCI bus has 2 GPUs, but no driver"),
        ("warn", "device 0: silent"),
        ("fail", "device 1 asks for: gpu_reset"),
        ("warn", "harness llamacpp: not installed"),
        ("fail", "it offers no harness"),
        ("fail", "it has no device"),
        ("warn", "its sample is old"),
        ("warn", "it is in maintenance"),
    ]


def test_a_node_that_is_well_says_what_it_has_and_one_that_was_not_asked_is_skipped() -> None:
    well, unseen = judge.said_of([WELL, NAMELESS])
    assert (well.result, well.found) == ("ok", "RTX; llamacpp")
    assert unseen.result == "skipped"

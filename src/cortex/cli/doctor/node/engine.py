"""Judges engines: whether they can be started, fit the driver and the GPUs, and may be started by systemd. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn
from cortex.contract.node import Device, HarnessDetail
from cortex.neuron.cuda_check import is_newer, unsuited
from cortex.neuron.process.systemd import UnitState

OLDEST_OF_CUDA_13 = (7, 5)
"""Compute capability. Source: NVIDIA, release notes of CUDA 13.0: Maxwell, Pascal and Volta are gone."""
LABELS_NOT_RUN = ("user_home_t", "user_tmp_t", "var_lib_t", "data_home_t", "admin_home_t", "tmp_t")
"""SELinux types whose files a unit of systemd does not run (203/EXEC)."""
RULE = "50-cortex-neuron.rules"


class Unit(NamedTuple):
    """The unit of a harness; ``state`` None: systemd cannot be asked."""

    harness: str
    name: str
    state: UnitState | None
    missing: str | None = None
    """A file that it does not start without."""


def judge_engines(details: Sequence[HarnessDetail]) -> Iterator[Finding]:
    """Which harnesses can be used."""
    if not details:
        means = "this neuron can load nothing"
        yield fail("there are no harnesses", means, "add [[harnesses]] to neuron.toml; see docs/configuration.md")
    is_any = any(detail.usable for detail in details)
    for detail in details:
        if detail.usable:
            yield ok(" ".join(filter(None, (detail.kind, detail.version))), detail.name)
            continue
        said, do = detail.why_not or "not usable", "install the engine, or correct its entry: cortex-neuron check"
        if is_any:
            yield warn(said, "no model that needs it runs here", do, detail.name)
        else:
            yield fail(said, "no model runs here", do, detail.name)


def judge_cuda(
    details: Sequence[HarnessDetail], supported: str | None, driver: str | None, capabilities: Sequence[str]
) -> Iterator[Finding]:
    """Whether engines were built for a CUDA that the driver has, and that the GPUs have."""
    oldest = min((_numbers(text) for text in capabilities if _numbers(text)), default=None)
    told = [detail for detail in details if detail.engine_cuda]
    for detail in told:
        built = detail.engine_cuda or ""
        if supported is not None and is_newer(built, supported):
            means = f"driver {driver or 'of this node'} supports CUDA {supported} at most: it starts, and fails"
            do = "update the driver, or install the build for CUDA 12 (mistralrs-cuda12-server)"
            yield fail(f"built for CUDA {built}", means, do, detail.name)
        elif _numbers(built)[:1] >= (13,) and oldest is not None and oldest < OLDEST_OF_CUDA_13:
            means = f"CUDA 13 has nothing for GPUs before Turing; one here is {'.'.join(map(str, oldest))}"
            yield fail(
                f"built for CUDA {built}", means, "install the build for CUDA 12 (mistralrs-cuda12-server)", detail.name
            )
        else:
            yield ok(f"built for CUDA {built}; the driver supports {supported or 'nobody knows what'}", detail.name)
    if not told:
        yield ok("no engine says for which CUDA it was built")


def judge_capability(details: Sequence[HarnessDetail], devices: Sequence[Device]) -> Iterator[Finding]:
    """Whether engines that are built for some GPUs only have code for those that are here."""
    for detail in details:
        wrong, asked = unsuited(detail, devices)
        if not wrong:
            continue
        found = f"built for GPUs of compute capability {detail.engine_capability}"
        means = f"it fails on {', '.join(f'{one.name} ({one.compute_capability})' for one in wrong)}"
        if len(wrong) == len(asked):
            yield fail(
                found,
                means,
                "install the build for these GPUs (mistralrs-cuda12-server is for 8.9, "
                "mistralrs-cuda13-server for 12.0)",
                detail.name,
            )
        else:
            yield warn(
                found,
                means,
                "keep its entry from these GPUs (CUDA_VISIBLE_DEVICES), and give them an entry of "
                "their own with the other build as its binary",
                detail.name,
            )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


def judge_systemd(said: str, units: Sequence[Unit]) -> Finding:
    """Whether systemd can be asked: ``said`` is what ``systemctl is-system-running`` prints."""
    if said in ("running", "degraded", "starting", "initializing", "maintenance"):
        return ok(f"systemd is {said}")
    if not units:
        return ok(f"systemd is {said or 'not to be asked'}, and no harness needs it")
    means = f"the server of {', '.join(unit.harness for unit in units)} can be neither started nor restarted"
    return fail(
        f"systemd is {said or 'not to be asked'}", means, "run the neuron on the host, or take systemd_unit away"
    )


def judge_units(units: Sequence[Unit]) -> Iterator[Finding]:
    """Whether the units that harnesses name are there."""
    for unit in units:
        if unit.state is None:
            yield skipped(f"systemd cannot be asked for {unit.name}", unit.harness)
        elif unit.state.load != "loaded":
            means = "its server cannot be started"
            do = f"install the package that brings {unit.name}, or correct systemd_unit; systemctl cat {unit.name}"
            yield fail(f"systemd says '{unit.state.load}' of {unit.name}", means, do, unit.harness)
        elif unit.missing is not None:
            said, means = f"{unit.missing} is not there", f"{unit.name} does not start without it"
            yield fail(said, means, f"write it: systemctl cat {unit.name} says what it is for", unit.harness)
        elif unit.state.active == "failed":
            means = "it has ended by itself; the neuron starts it anew when it is wanted"
            yield warn(
                f"{unit.name} has failed ({unit.state.result})", means, f"journalctl -u {unit.name}", unit.harness
            )
        else:
            yield ok(f"{unit.name} is {unit.state.active}", unit.harness)
    if not units:
        yield ok("no harness names one")


def judge_rule(unit: Unit, rules: Sequence[str] | None, user: str, asked: bool | None) -> Finding:
    """Whether the neuron may start and restart a unit. ``rules``: the texts of polkit's rules that name cortex-neuron;
    None: not to be read. ``asked``: what polkit itself says; None: it cannot be asked."""
    if user == "root":
        return ok(f"root may start {unit.name}", unit.harness)
    means = f"{user} cannot start {unit.name}: loads fail with 'Interactive authentication required'"
    do = f"install {RULE} into /etc/polkit-1/rules.d, with {unit.name} and {user} in it"
    if asked is not None:
        if asked:
            return ok(f"polkit lets {user} start {unit.name}", unit.harness)
        return fail(f"polkit does not let {user} start {unit.name}", means, do, unit.harness)
    if rules is None:
        return skipped("polkit's rules cannot be read by this user", unit.harness, "run it as root")
    if not rules:
        return fail(f"no rule of polkit names {user}", means, do, unit.harness)
    if any(_covers(rule, unit.name) for rule in rules):
        return ok(f"a rule covers {unit.name}; polkit itself was not asked", unit.harness)
    return warn(f"no rule that names {user} seems to cover {unit.name}", means, do, unit.harness)


def _covers(rule: str, unit: str) -> bool:
    """Tell whether a regular expression or a name in a rule of ours means a unit."""
    unit = unit if "." in unit else f"{unit}.service"
    for pattern in re.findall(r"/(\^[^\n]*?\$)/\s*\.test", rule):
        try:
            if re.search(pattern, unit):
                return True
        except re.error:
            continue
    return f'"{unit}"' in rule


def judge_selinux(
    enforcing: int | None, labels: Sequence[tuple[str, str]], denials: Sequence[str]
) -> Iterator[Finding]:
    """Whether SELinux is in the way. ``labels``: program and type of each engine; ``denials``: recent ones of ours."""
    if enforcing is None:
        yield ok("SELinux is off")
        return
    mode = "enforcing" if enforcing else "permissive"
    well = True
    for program, label in labels:
        if label in LABELS_NOT_RUN and enforcing:
            well = False
            means = "systemd does not run a program of this type (203/EXEC), nor may what it has started"
            do = f"put it into /usr/local/bin, or: semanage fcontext -a -t bin_t '{program}' && restorecon -v {program}"
            yield warn(f"{program} is {label}", means, do)
    if denials:
        well = False
        said = f"{len(denials)} recent denials, the last: {denials[-1][:200]}"
        yield warn(said, f"SELinux is {mode}", "ausearch -m AVC -ts recent | audit2why")
    if well:
        yield ok(f"SELinux is {mode}, and nothing of ours was denied or will be, as far as this user sees")

"""Judges what was seen of a neuron: each step of the way to it by itself. Pure.

A step that was not made because one before it failed is no finding: the first one that failed says what is wrong.
"""

from collections.abc import Iterable, Iterator

from cortex.cli.doctor.examination import RIGHTS
from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn
from cortex.cli.doctor.limit import judge_skew
from cortex.cli.doctor.neuron_look import NeuronLook
from cortex.contract.version import MOST_APART, minors_apart

AFAR = "nothing of this node can be used"


def judge_name(look: NeuronLook) -> Finding:
    """Whether the host of its endpoint has an address."""
    if look.why_no_name:
        said = f"{look.endpoint}: {look.why_no_name}"
        return fail(
            said, f"its name has no address: {AFAR}", "getent hosts NAME; correct `endpoint`, or the DNS", look.name
        )
    return ok(f"{look.endpoint} is {', '.join(look.addresses)}", look.name)


def judge_connection(look: NeuronLook) -> Finding | None:
    """Whether its port takes connections."""
    if look.why_no_name:
        return None
    if look.why_no_connection:
        do = "on that host: systemctl status cortex-neuron, cortex-neuron doctor, firewall-cmd --list-all"
        return fail(f"{look.endpoint}: {look.why_no_connection}", f"no neuron is reached: {AFAR}", do, look.name)
    return ok(f"{look.endpoint} takes connections", look.name)


def judge_answer(look: NeuronLook) -> Finding | None:
    """Whether it is a neuron that answers there, and one that is ready."""
    if look.why_no_name or look.why_no_connection:
        return None
    if look.why_no_neuron:
        return fail(
            look.why_no_neuron,
            f"no neuron is understood there: {AFAR}",
            "is `endpoint` a neuron's? By default it has port 9090",
            look.name,
        )
    if look.status == 503:
        return warn(
            f"it says: {look.said}",
            "it is used as soon as it is ready",
            "journalctl -u cortex-neuron, there",
            look.name,
        )
    if look.status not in (200, 401, 403):
        return fail(f"it answers {look.status}: {look.said}", AFAR, "journalctl -u cortex-neuron, there", look.name)
    return ok("a neuron answers", look.name)


def judge_token(look: NeuronLook) -> Finding | None:
    """Whether it lets this gateway in."""
    if look.status == 401:
        if look.is_token_hidden:
            return skipped(f"{look.why_no_token}: it is not known whether the neuron would take it", look.name, RIGHTS)
        if look.why_no_token:
            return fail(
                look.why_no_token,
                "without the credential the neuron lets nobody in",
                "correct the `token_file` of this node",
                look.name,
            )
        what = "refuses the credential of" if look.has_token else "asks for a credential, and none is configured for"
        means = f"it lets this gateway not in: {AFAR}"
        return fail(
            f"it {what} this node", means, "put the content of its token_file into the one named here", look.name
        )
    if look.status == 403:
        return fail(
            f"it says: {look.said}",
            f"it does not trust this host: {AFAR}",
            "there: set token_file, or add this network to trusted_networks",
            look.name,
        )
    if look.status != 200:
        return None
    if look.has_token or look.why_no_token:
        return ok("it lets this gateway in", look.name)
    means = "whoever is in its trusted networks can load and unload models there"
    return ok(f"it lets this gateway in without a credential: {means}", look.name)


def judge_version(look: NeuronLook, ours: str) -> Finding | None:
    """Whether gateway and neuron are of versions that understand each other: the same minor version or the next."""
    if look.discovery is None:
        return None
    theirs = look.discovery.neuron_version
    said = f"it is {theirs or 'of an unknown version'}, this is {ours}"
    apart = minors_apart(theirs, ours)
    if apart is None:
        return warn(
            said, "nobody knows whether they understand each other", "install one version on all hosts", look.name
        )
    if apart > MOST_APART:
        means = "a gateway and its neurons may be one minor version apart, while they are upgraded, and no more"
        return fail(said, means, "upgrade both to one version, neurons first: docs/operations/upgrade.md", look.name)
    return ok(said, look.name)


def judge_node_clock(look: NeuronLook) -> Finding | None:
    """Whether its clock agrees with this one."""
    return None if look.skew_s is None else judge_skew(look.skew_s, look.name, look.took_s + 1)


def judge_state(look: NeuronLook) -> Iterator[Finding]:
    """What it says of itself: devices, troubles, harnesses, whether it takes loads."""
    if look.discovery is None or look.health is None:
        return
    name, discovery, before = look.name, look.discovery, "on that host: cortex-neuron doctor"
    for trouble in discovery.troubles:
        yield warn(trouble, "there may be devices that are not offered", before, name)
    for device in look.health.devices:
        if device.trouble:
            yield warn(f"device {device.index}: {device.trouble}", "nothing newer is known of it", before, name)
        if device.recovery_action not in (None, "none"):
            yield fail(
                f"device {device.index} asks for: {device.recovery_action}", "it cannot be relied on", before, name
            )
    for harness in discovery.harness_details:
        if not harness.usable:
            yield warn(
                f"harness {harness.name}: {harness.why_not or 'not usable'}",
                "no model that needs it runs there",
                before,
                name,
            )
    if not discovery.harnesses:
        yield fail("it offers no harness", "no model can run there", "add [[harnesses]] to its neuron.toml", name)
    if not discovery.devices:
        yield fail("it has no device", "no model can run there", before, name)
    if look.health.stale:
        yield warn("its sample is old", "a driver may hang: what is free there is not known", before, name)
    if look.health.maintenance:
        yield warn("it is in maintenance", "nothing new is placed there", f"cortex undrain {name}", name)


def said_of(looks: Iterable[NeuronLook]) -> Iterator[Finding]:
    """Yield for each node what it says of itself, or that it is well."""
    for look in looks:
        found = list(judge_state(look))
        if not found and look.discovery is not None:
            devices = ", ".join(device.name for device in look.discovery.devices)
            found = [ok(f"{devices}; {', '.join(look.discovery.harnesses)}", look.name)]
        yield from found or [skipped("it was not asked", look.name)]

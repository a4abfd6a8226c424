"""Which revision of its catalogue entry an instance was loaded by, and whether that is out of date.

A revision is a hash of what decides how a model answers: its file and how its engine is started. What it needs, where
it may be and how long it stays are no part of it: no engine is replaced for those. The neuron keeps the revision of a
load with its records and reports it; one without was not loaded by a catalogue, and nobody knows better.
"""

import hashlib

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.profile import Profile
from cortex.fleet.variant import profile_for, wanted_harnesses

SERVING = ("quant", "source", "args", "context", "parallel", "mmproj", "images_workflow")
"""The keys of a profile that decide how it answers."""


def revision_of(profile: Profile) -> str:
    """Return the revision of a profile as it is served on one harness (see ``variant.profile_for``)."""
    serving = [getattr(profile, name) for name in SERVING]
    return hashlib.blake2b(msgspec.json.encode(serving), digest_size=8).hexdigest()


def is_outdated(profile: Profile, report: InstanceReport) -> bool:
    """Tell whether an instance was loaded by another revision of the profile than today's."""
    if report.revision is None:
        return False
    if not {report.harness, report.kind} & set(wanted_harnesses(profile)):
        return True
    return report.revision != revision_of(profile_for(profile, report.harness, report.kind))

"""On which harnesses a profile may run, best first, and how it is served on each of them.

A profile names one harness; every table of its entry that is named after a harness (``[models.vllm]``) names a further
one, with what is otherwise there. The name of a node's entry means more than its kind.
"""

import msgspec

from cortex.contract.profile import Profile


def wanted_harnesses(profile: Profile) -> tuple[str, ...]:
    """Return the names or kinds of harnesses that a profile may run on: its own first, then in the file's order."""
    return tuple(dict.fromkeys((profile.harness, *profile.variants)))


def profile_for(profile: Profile, harness: str, kind: str) -> Profile:
    """Return how a profile is served on the entry ``harness``, which is of that ``kind``."""
    variant = profile.variants.get(harness) or profile.variants.get(kind)
    if variant is None:
        return profile
    given = {name: value for name, value in msgspec.structs.asdict(variant).items() if value is not None}
    return msgspec.structs.replace(profile, **given)

"""What is wrong with one profile by itself: values out of their range, names that nobody could ask for."""

from collections.abc import Iterator

from cortex.contract.profile import Profile, Variant
from cortex.dialects.openai_request import MAX_MODEL_CHARS

_ABOVE_ZERO = ("vram_mb", "context", "parallel", "max_replicas", "idle_unload_s")
_NOT_BELOW_ZERO = ("min_devices", "min_device_vram_mb", "min_replicas", "min_residency_s")
_NOT_BLANK = ("id", "harness", "quant", "source", "mmproj", "images_workflow")
_LISTS_NOT_BLANK = ("aliases", "pinned_on", "capabilities")


def faults_of(profile: Profile) -> Iterator[str]:
    """Yield what is wrong, each with the key and what was expected."""
    yield from _value_faults(profile)
    for key, names in (("id", (profile.id,)), ("aliases", profile.aliases)):
        for name in names:
            if not name.isprintable():
                yield f"{key}: expected printable text, got {name!r}"
            if len(name) > MAX_MODEL_CHARS:
                yield f"{key}: expected at most {MAX_MODEL_CHARS} characters, got {len(name)}"
    if profile.max_replicas is not None and profile.max_replicas < profile.min_replicas:
        yield f"max_replicas: expected at least min_replicas ({profile.min_replicas}), got {profile.max_replicas}"
    for harness, variant in profile.variants.items():
        yield from (f"{harness}: {fault}" for fault in _value_faults(variant))


def _value_faults(given: Profile | Variant) -> Iterator[str]:
    for key in _NOT_BLANK:
        value = getattr(given, key, None)
        if value is not None and (not value or value != value.strip()):
            yield f"{key}: expected text without blanks around it, got '{value}'"
    for key in _LISTS_NOT_BLANK:
        for value in getattr(given, key, ()):
            if not value or value != value.strip():
                yield f"{key}: expected text without blanks around it, got '{value}'"
    for key in _ABOVE_ZERO:
        value = getattr(given, key, None)
        if value is not None and not value > 0:  # nan is neither
            yield f"{key}: expected a number above 0, got {value}"
    for key in _NOT_BELOW_ZERO:
        value = getattr(given, key, None)
        if value is not None and not value >= 0:
            yield f"{key}: expected 0 or more, got {value}"

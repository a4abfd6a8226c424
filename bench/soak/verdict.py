"""Whether a soak went well: memory and descriptors flat, counts at zero, and nothing odd but what a crash explains."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.soak.client import Odd
from bench.soak.sample import Sample, course

AFTERMATH_S = 30.0
"""So long after an engine has died a request may fail for it."""
MORE_DESCRIPTORS = 16
"""When all is over a process may have so many more descriptors than before: connections that wait to be used again."""
EXPLAINED = frozenset(("upstream_broken", "upstream_unreachable", "upstream_error", "engine_failed", "load_failed"))
"""What the gateway may say of an engine that has died."""


class Finding(NamedTuple):
    """One thing that was judged."""

    what: str
    figure: str
    is_good: bool


class Crash(NamedTuple):
    """An engine was killed."""

    at_s: float
    model: str


def flatness(samples: Mapping[str, Sequence[Sample]]) -> Iterator[Finding]:
    """Yield, for each process, how its memory and its descriptors went."""
    for name, series in samples.items():
        memory = course([one.rss_mib for one in series])
        words = f"{memory.early:.1f} MiB, then {memory.late:.1f} ({memory.share:+.1%})"
        yield Finding(f"{name}: memory", words, memory.is_flat)
        files = course([one.descriptors for one in series])
        is_flat = files.is_flat or abs(files.late - files.early) <= MORE_DESCRIPTORS
        words = f"{files.early:.0f}, then {files.late:.0f} ({files.share:+.1%})"
        yield Finding(f"{name}: descriptors", words, is_flat)


def rest(before: Mapping[str, Sample], after: Mapping[str, Sample]) -> Iterator[Finding]:
    """Yield whether each process has let go of its descriptors."""
    for name, one in after.items():
        more = one.descriptors - before[name].descriptors
        words = f"{before[name].descriptors} before, {one.descriptors} after"
        yield Finding(f"{name}: descriptors at rest", words, more <= MORE_DESCRIPTORS)


def counts(metrics: Mapping[str, float]) -> Iterator[Finding]:
    """Yield whether nothing is counted any more."""
    for name in ("cortex_requests_in_flight", "cortex_requests_waiting", "cortex_client_connections"):
        value = metrics.get(name, 0.0 if metrics else -1.0)
        yield Finding(name, f"{value:g}", value == 0)


def unexplained(odd: Sequence[Odd], crashes: Sequence[Crash]) -> list[Odd]:
    """Return the requests that failed though no engine of theirs had just died, or in a way that is never right."""
    return [one for one in odd if not _is_explained(one, crashes)]


def _is_explained(one: Odd, crashes: Sequence[Crash]) -> bool:
    is_told = one.what.rpartition(" ")[2] in EXPLAINED
    was_answered_whole = not one.kind.is_stream and one.what == "200 broken off"
    died = any(crash.model == one.kind.model and 0 <= one.at_s - crash.at_s <= AFTERMATH_S for crash in crashes)
    return died and (is_told or was_answered_whole)


def errors(odd: Sequence[Odd], crashes: Sequence[Crash], complaints: Sequence[str]) -> Iterator[Finding]:
    """Yield whether all that went wrong had to."""
    strange = Counter(f"{one.kind.name}: {one.what}" for one in unexplained(odd, crashes))
    words = "none" if not strange else "; ".join(f"{what} ({count})" for what, count in strange.most_common(8))
    yield Finding("requests that failed for no reason", words, not strange)
    shown = "none" if not complaints else f"{len(complaints)}, the first: {complaints[0][:300]}"
    yield Finding("errors in the logs", shown, not complaints)

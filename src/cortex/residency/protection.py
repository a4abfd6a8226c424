"""Decides how long an instance must not be evicted after it began to serve.

As long as its load asks for, and at least twice as long as its last load took: a node that swaps two models more often
than that would do little else. Only eviction respects it; an operator unloads what they want.
"""

LOADS = 2.0
"""A model serves at least so many times as long as it took to load."""


def protected_s(min_residency_s: float | None, load_s: float | None) -> float:
    """Return how long an instance is protected; ``load_s`` None: nobody saw how long its load took."""
    return max(min_residency_s or 0.0, LOADS * (load_s or 0.0))


def protected_left_s(loaded_s: float, min_residency_s: float | None, load_s: float | None, now_s: float) -> float:
    """Return for how long it is still protected that began to serve at ``loaded_s``; 0 when it may be evicted."""
    return max(0.0, loaded_s + protected_s(min_residency_s, load_s) - now_s)

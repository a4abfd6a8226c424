"""Under which names a model may be known that an Ollama client calls by ``name:tag``. Resolving is the caller's."""

LATEST = ":latest"
"""The tag that clients add to a name that has none."""


def name_candidates(name: str) -> tuple[str, ...]:
    """Return the names to try, the exact one first."""
    bare = name.removesuffix(LATEST)
    return (name,) if bare in ("", name) else (name, bare)

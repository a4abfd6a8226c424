"""What the dispatcher wants done: effects, imperative. Carried out by ``gateway/control``; nothing here acts."""

import msgspec

from cortex.contract.error import CortexError
from cortex.contract.instance import LoadRequest


class Target(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where one generation of an instance is reached. One object per generation: compared by identity, so that
    the data plane may key its caches on it.

    ``url`` is the base that the neuron named, without trailing slash; ``engine_model`` the name the engine answers to.
    """

    node: str
    model: str
    generation: int
    url: str
    engine_model: str
    credential: str | None = None


class Grant(msgspec.Struct, frozen=True):
    """Let this request be sent to the target. Every grant is ended by exactly one ``RequestFinished``."""

    ticket: int
    target: Target
    is_cold_start: bool = False


class Refuse(msgspec.Struct, frozen=True):
    """Answer this request with an error. ``model`` is the canonical id, empty when the name is unknown."""

    ticket: int
    error: CortexError
    model: str = ""
    node: str = ""


class StartLoad(msgspec.Struct, frozen=True):
    """Ask a neuron to load a model, follow it until it is loaded or failed, and say so in an event."""

    node: str
    request: LoadRequest


class FetchEndpoint(msgspec.Struct, frozen=True):
    """Ask a neuron where a loaded model is reached, and say so in an event."""

    node: str
    model: str


Effect = Grant | Refuse | StartLoad | FetchEndpoint

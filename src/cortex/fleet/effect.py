"""What the dispatcher wants done: effects, imperative. Carried out by ``gateway/control``; nothing here acts."""

import msgspec

from cortex.contract.error import CortexError
from cortex.contract.instance import LoadRequest, UnloadRequest
from cortex.contract.lease import LeasePost
from cortex.contract.node import RestartRequest


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
    kind: str = ""
    """Of its harness: which engine it is; empty when unknown."""
    context: int | None = None
    """Tokens that a request may have there, prompt and answer; None when unknown."""


class Grant(msgspec.Struct, frozen=True):
    """Let this request be sent to the target. Every grant is ended by exactly one ``RequestFinished``.

    ``is_probe``: the target has failed, and others wait to hear whether it answers this one: ``RequestAnswered``.
    """

    ticket: int
    target: Target
    is_cold_start: bool = False
    is_probe: bool = False


class Refuse(msgspec.Struct, frozen=True):
    """Answer this request with an error. ``model`` is the canonical id, empty when the name is unknown."""

    ticket: int
    error: CortexError
    model: str = ""
    node: str = ""


class StartLoad(msgspec.Struct, frozen=True):
    """Ask a neuron to load a model, follow it until it is loaded or failed, and say so in an event.

    ``is_first``: nobody is known to have the model, so that several gateways may be about to load it: who has a store
    claims it there before. ``ticket``: the request that it is for in the first place; 0: it is for none.
    """

    node: str
    request: LoadRequest
    is_first: bool = False
    ticket: int = 0


class FetchEndpoint(msgspec.Struct, frozen=True):
    """Ask a neuron where a loaded model is reached, and say so in an event."""

    node: str
    model: str


class PostLeases(msgspec.Struct, frozen=True):
    """Post a report to a neuron; ends in ``LeasesAnswered``, ``LeasesRefused`` or ``NodeMissed``."""

    node: str
    post: LeasePost


class AskDiscovery(msgspec.Struct, frozen=True):
    """Ask a neuron what its host is made of; ends in ``NodeDiscovered`` or ``NodeMissed``."""

    node: str


class UnloadModel(msgspec.Struct, frozen=True):
    """Ask a neuron to unload a model; ends in ``UnloadFinished``."""

    node: str
    request: UnloadRequest


class RestartHarness(msgspec.Struct, frozen=True):
    """Ask a neuron to restart a harness's engine; ends in ``RestartFinished``."""

    node: str
    harness: str
    request: RestartRequest


Slow = StartLoad | FetchEndpoint | PostLeases | AskDiscovery | UnloadModel | RestartHarness
"""Effects that take time: each ends in exactly one event."""

Effect = Grant | Refuse | Slow

"""An operator's wish for a loaded model, from when it is told to the dispatcher until it is fulfilled or refused.

Followed by what is decided: nothing is asked of the neuron here. Who leaves does not stop the load.
"""

import contextlib
from collections.abc import Iterator

from cortex.contract import error
from cortex.contract.admin import LoadOutcome
from cortex.fleet.decision import Decision
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.event import LoadWanted
from cortex.fleet.load_book import CALLED_OFF
from cortex.gateway.control.report import Post
from cortex.kit.clock import Clock
from cortex.kit.event_stream import Bell

OPERATOR = "operator"
LOOK_S = 1.0
"""A model may also be loaded without a decision of this gateway; who waits for that looks so often."""

KINDS = [kind for kind in vars(error).values() if isinstance(kind, type) and issubclass(kind, error.CortexError)]
ERRORS = {kind.code: kind for kind in KINDS}
"""What a refusal that was put on record is told with."""


class LoadWishes:
    """All wishes of operators that somebody waits for."""

    def __init__(self, dispatcher: Dispatcher, post: Post, clock: Clock, *, load_timeout_s: float) -> None:
        self._dispatcher = dispatcher
        self._post = post
        self._clock = clock
        self._load_timeout_s = load_timeout_s
        self._ears: set[_Ear] = set()
        self._is_closed = False
        dispatcher.decisions.watch(self._hear)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._ears)

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._is_closed = True
        for ear in self._ears:
            ear.bell.ring()

    async def fulfil(self, model: str, node: str | None, *, waits: bool) -> LoadOutcome:
        """Load a model, and say how that stands: at once, or once it is over.

        Raises: the error that the dispatcher gives up with, ModelLoading, ShuttingDown.
        """
        until_s = self._clock.now_s() + self._load_timeout_s
        with self._listening(model, node) as ear:
            if not self.is_loaded(model, node):
                self._post(LoadWanted(model=model, node=node))
            while True:
                outcome = self._outcome(model, node, ear)
                if outcome.status == "loaded" or not waits:
                    return outcome
                if self._is_closed:
                    raise error.ShuttingDown
                if self._clock.now_s() >= until_s:
                    words = f"'{model}' is not loaded after {self._load_timeout_s:g} s: {outcome.reason or 'no news'}."
                    raise error.ModelLoading(words, model=model, node=outcome.node or "")
                await ear.bell.wait(LOOK_S)

    def is_loaded(self, model: str, node: str | None) -> bool:
        """Tell whether requests are sent to a model, on a node or (None) anywhere."""
        return any(node in (None, at) for at in self._served_on(model))

    def _served_on(self, model: str) -> list[str]:
        models = self._dispatcher.view(self._clock.now_s()).models
        found = next((found for found in models if found.id == model), None)
        return [replica.node for replica in found.replicas if replica.is_ready] if found is not None else []

    @contextlib.contextmanager
    def _listening(self, model: str, node: str | None) -> Iterator["_Ear"]:
        ear = _Ear(model, node)
        self._ears.add(ear)
        try:
            yield ear
        finally:
            self._ears.discard(ear)

    def _hear(self, decision: Decision) -> None:
        for ear in self._ears:
            ear.hear(decision)

    def _outcome(self, model: str, node: str | None, ear: "_Ear") -> LoadOutcome:
        """Return how it stands with a load. Raises: the error that it has ended with."""
        last, served_on = ear.last, self._served_on(model)
        if last is not None and (last.kind in ("failure", "refusal") or last.details.get("code") == CALLED_OFF):
            raise _error_of(last)
        if last is not None and last.kind == "load":
            return LoadOutcome(model=model, node=last.node, status="loaded")
        here = [at for at in served_on if node in (None, at)]
        if here:
            return LoadOutcome(model=model, node=here[0], status="loaded")
        flights = [at for name, at in self._dispatcher.loads_under_way() if name == model and node in (None, at)]
        reason = last.reason if last is not None else ""
        if flights:
            return LoadOutcome(model=model, node=flights[0], status="loading", reason=reason)
        return LoadOutcome(model=model, node=node, status="waiting", reason=reason)


class _Ear:
    """Hears what is decided of a model (``node`` None: anywhere) while somebody waits for it."""

    def __init__(self, model: str, node: str | None) -> None:
        self.bell = Bell()
        self.last: Decision | None = None
        """The newest decision that tells how a load stands."""
        self._model = model
        self._node = node

    def hear(self, decision: Decision) -> None:
        if decision.model != self._model or not self._is_about_it(decision):
            return
        self.last = decision
        self.bell.ring()

    def _is_about_it(self, decision: Decision) -> bool:
        if decision.kind == "refusal":
            return decision.caller == OPERATOR and decision.node == (self._node or "")
        is_here = self._node in (None, decision.node)
        return is_here and decision.kind in ("placement", "load", "failure", "deferral")


def _error_of(decision: Decision) -> error.CortexError:
    code = str(decision.details.get("code", ""))
    if decision.kind != "refusal":
        words = f"'{decision.model}' could not be loaded on {decision.node}: {decision.reason}"
        return error.LoadFailed(words, model=decision.model, node=decision.node, cause=code)
    words = decision.reason.removeprefix(f"wished for by the {OPERATOR}: ")
    return ERRORS.get(code, error.CapacityError)(words, model=decision.model, node=decision.node)

"""The models of servers that run by themselves: listed while they answer, never loaded or unloaded here.

Such a model is ``loaded`` as long as its server answers and lists it, and ``failed`` when the server that listed it
last is silent. A model that its server does not list any more is gone.
"""

import secrets
from collections.abc import Callable, Sequence

from cortex.contract.error import UpstreamUnreachable
from cortex.contract.instance import InstanceError, InstanceReport, LoadAnswer, LoadRequest
from cortex.neuron.endpoint import Reach
from cortex.neuron.harness.interface import Harness, ListedModel
from cortex.neuron.refusal import LoadedDifferently, NotLoaded
from cortex.neuron.server_list import ServerLists


class ForeignModels:
    """What the foreign servers of this node serve. ``changed`` is called after every change of that."""

    def __init__(self, harnesses: Sequence[Harness], changed: Callable[[], None]) -> None:
        self._lists = ServerLists([h for h in harnesses if h.capabilities.process_model == "foreign"], changed)
        self.refresh = self._lists.refresh
        self.is_silent = self._lists.is_silent
        self._nonces: dict[tuple[str, str], str] = {}
        """What stands for a server, by its entry's name and its URL."""

    async def ask_again(self, model_id: str) -> None:
        """Ask the server that last listed a model once more if it was silent: it may be back, and is wanted now."""
        found = self.find(model_id)
        if found is not None and self.is_down(*found):
            await self._lists.ask(found[0])

    def is_down(self, harness: Harness, listed: ListedModel) -> bool:
        """Tell whether the server that listed a model did not answer the last question."""
        return listed.is_silent or self.is_silent(harness.name)

    def find(self, model_id: str) -> tuple[Harness, ListedModel] | None:
        """Return the first entry that lists a model, with how it is reached; one whose server answers comes first."""
        found = [(harness, listed) for harness, listed in self._lists if listed.id == model_id]
        return min(found, key=lambda pair: self.is_down(*pair), default=None)

    def joined(self, request: LoadRequest, harness: Harness) -> LoadAnswer | None:
        """Return the answer for a model that a server serves already; None when none does, or is silent.

        Raises: LoadedDifferently when another entry has it than was asked for, UpstreamUnreachable when that is silent.
        """
        found = self.find(request.model_id)
        if found is None:
            return None
        owner, listed = found
        is_down = self.is_down(owner, listed)
        if request.harness not in (owner.name, owner.kind):
            if is_down:
                return None
            raise LoadedDifferently(f"{request.model_id} is served by harness {owner.name}, not {harness.name}")
        if is_down:
            raise UpstreamUnreachable(silence(listed.url))
        return LoadAnswer(status="loaded")

    def reports(self) -> dict[str, InstanceReport]:
        """Return the entry of every model in ``GET /models``, by id."""
        found: dict[str, tuple[Harness, ListedModel]] = {}
        for harness, listed in self._lists:  # as ``find`` does for one; a proxy lists hundreds
            known = found.setdefault(listed.id, (harness, listed))
            if self.is_down(*known) and not self.is_down(harness, listed):
                found[listed.id] = (harness, listed)
        return {model_id: self._report(*one) for model_id, one in found.items()}

    def reach(self, model_id: str) -> Reach:
        """Return where a model that is listed is reached. Raises: NotLoaded while its server is silent."""
        harness, listed = self._found(model_id)
        if self.is_down(harness, listed):
            raise NotLoaded(f"{model_id}: {silence(listed.url)}", status="failed")
        nonce = self._nonces.setdefault((harness.name, listed.url), secrets.token_urlsafe(16))
        return Reach(
            harness.name, listed.url, 0, listed.engine_model, nonce, listed.credential, harness.kind, listed.context
        )

    def route(self, nonce: str) -> str | None:
        """Return the base URL of the server that a relay's nonce stands for; None when it lists nothing any more."""
        listed = self._behind(nonce)
        return None if listed is None else listed.url

    def credential(self, nonce: str) -> str | None:
        """Return the key that the server behind a nonce asks for."""
        listed = self._behind(nonce)
        return None if listed is None else listed.credential

    def _behind(self, nonce: str) -> ListedModel | None:
        """Return any model of the server that a nonce stands for."""
        for (name, url), own in self._nonces.items():
            if own == nonce:
                return next((listed for listed in self._lists.of(name) if listed.url == url), None)
        return None

    def _found(self, model_id: str) -> tuple[Harness, ListedModel]:
        found = self.find(model_id)
        assert found is not None
        return found

    def _report(self, harness: Harness, listed: ListedModel) -> InstanceReport:
        is_silent = self.is_down(harness, listed)
        return InstanceReport(
            id=listed.id,
            harness=harness.name,
            kind=harness.kind,
            status="failed" if is_silent else "loaded",
            error=InstanceError(code="server_silent", message=silence(listed.url)) if is_silent else None,
        )


def silence(url: str) -> str:
    """Return in words that a server does not answer."""
    return f"the server at {url} does not answer"

"""The models of a mistral.rs server as its core keeps them, defects included. Values only: no socket, no clock.

Source: ``mistralrs-core/src/lib.rs`` at v0.9.2, and what v0.9.5 was seen to do (2026-10). The defects that matter:

* a reload of what is not in the unloaded map, be it loaded or unknown, leaves its mark in the reloading set for ever;
* unloading the default model moves the default slot to another loaded one, or empties it; no reload fills it again;
* one id can be listed twice, as reloading and as loaded.
"""

from collections.abc import Iterable
from typing import Literal

Status = Literal["loaded", "unloaded", "reloading", "not_found", "no_loader_config", "internal_error"]


class NotServed(Exception):
    """A request cannot be given to an engine; ``kind`` says why."""

    def __init__(self, kind: Literal["unknown", "reloading", "poisoned", "failed"], words: str) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words


class ModelTable:
    """Ids in the three places that there are. ``without_loader``: those that can be neither unloaded nor reloaded."""

    def __init__(self, loaded: Iterable[str], without_loader: Iterable[str] = ()) -> None:
        self.loaded = list(loaded)
        self.unloaded: list[str] = []
        self.reloading: list[str] = []
        self.default = self.loaded[0] if self.loaded else None
        self._without_loader = frozenset(without_loader)

    def entries(self) -> list[tuple[str, Status]]:
        """Return ``GET /v1/models`` without its pseudo-model: reloading ones first, unloaded ones once only."""
        rest = [name for name in self.unloaded if name not in self.reloading]
        return [
            *((name, "reloading") for name in self.reloading),
            *((name, "loaded") for name in self.loaded),
            *((name, "unloaded") for name in rest),
        ]

    def status(self, name: str) -> Status:
        """Return the answer to ``/v1/models/status``."""
        if name in self.reloading:
            return "reloading"
        if name in self.loaded:
            return "loaded"
        return "unloaded" if name in self.unloaded else "not_found"

    def knows(self, name: str) -> bool:
        """Tell whether a request may name it; an invented name that was once to be reloaded may be named too."""
        return name in self.loaded or name in self.unloaded or name in self.reloading

    def unload(self, name: str) -> Status:
        """Take a model out; its engine is told to end, and nobody waits for that."""
        if name in self.unloaded:
            return "unloaded"
        if name not in self.loaded:
            return "not_found"
        if name in self._without_loader:
            return "no_loader_config"
        self.loaded.remove(name)
        self.unloaded.append(name)
        if self.default == name:
            self.default = self.loaded[0] if self.loaded else None
        return "unloaded"

    def begin_reload(self, name: str) -> Status | None:
        """Mark a model as being reloaded; None: its load begins now. Anything else: nothing is loaded, mark or no."""
        if name in self.reloading:
            return "reloading"
        self.reloading.append(name)
        return None if name in self.unloaded else "not_found"  # the defect: the mark stays

    def end_reload(self, name: str, is_loaded: bool) -> None:
        """Note how a load that began has ended."""
        if is_loaded:
            self.unloaded.remove(name)
            self.loaded.append(name)
        self.reloading.remove(name)

    def engine_for(self, name: str | None) -> str | None:
        """Return the loaded model that a request goes to; None: it has to be reloaded first. Raises: NotServed."""
        if name is None or name == "default":
            if self.default is None:
                raise NotServed("poisoned", "engine state lock is poisoned")
            return self.default
        if name in self.loaded:
            return name
        if name in self.reloading:
            raise NotServed("reloading", f"model `{name}` is being reloaded")
        return None

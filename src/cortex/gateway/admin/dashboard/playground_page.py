"""The playground: which models can be talked to. Changes nothing.

Talking itself is between the browser and the data plane (``playground_door``); nothing of it comes by here.
"""

from typing import NamedTuple

from cortex.contract.profile import Profile
from cortex.fleet.view import FleetView
from cortex.gateway.admin.dashboard.page import Desk, Filling, Query
from cortex.gateway.admin.model_entry import model_entries

NO_CHAT = frozenset(("embeddings", "embedding", "rerank", "audio", "image", "images", "speech", "transcription"))
"""Capabilities of models that do not chat; one that says nothing may."""
DEFAULT_MAX_TOKENS = 512


class Choice(NamedTuple):
    """One model. ``sees``: it takes pictures, as far as the catalogue says."""

    model: str
    name: str
    status: str
    sees: bool
    is_chosen: bool


async def look_at_playground(desk: Desk, query: Query) -> Filling:
    """Return what the page is filled with; ``model``: the one that is to be chosen, by id or alias."""
    choices = choices_of(desk.fleet.view(), query.get("model", "").strip())
    return {"choices": choices, "max_tokens": DEFAULT_MAX_TOKENS}


def choices_of(view: FleetView, wanted: str) -> list[Choice]:
    """Return the models that may chat: those that are loaded first. Chosen is the one wanted, else the first."""
    profiles = {model.id: model.profile or Profile(id="", harness="") for model in view.models}
    entries = [entry for entry in model_entries(view) if _may_chat(profiles[entry.id])]
    entries.sort(key=lambda entry: (entry.status != "loaded", entry.id))
    named = next((entry.id for entry in entries if wanted in (entry.id, *entry.aliases)), None)
    chosen = named or next((entry.id for entry in entries), "")
    return [
        Choice(
            model=entry.id,
            name=f"{entry.id} ({', '.join(entry.aliases)})" if entry.aliases else entry.id,
            status=entry.status,
            sees="vision" in profiles[entry.id].capabilities,
            is_chosen=entry.id == chosen,
        )
        for entry in entries
    ]


def _may_chat(profile: Profile) -> bool:
    capabilities = set(profile.capabilities)
    return "chat" in capabilities or not capabilities & NO_CHAT

"""What Ollama's clients read about models: ``/api/tags``, ``/api/show``, ``/api/ps``, ``/api/version``. Pure builders.

``entry`` is one of ``FleetReads.model_entries``. What cortex does not know of a model (its size in bytes, its family)
is there all the same, as nothing, because typed clients insist on the members; what Ollama does not have (status,
nodes) stands beside them.

Source: Ollama's ``api/types.go`` and ``server/routes.go`` (0.40, read 2026-11), its Python client 0.6.3.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

import msgspec

from cortex.dialects.client_body import read_client_body
from cortex.dialects.ollama_name import name_candidates
from cortex.dialects.ollama_wire import ShowAsked
from cortex.dialects.openai_request import checked_model

Entry = Mapping[str, object]

OLLAMA_VERSION = "0.40.0"
"""What is imitated; clients refuse a server that is too old for what they want of it."""

FOREVER = "9999-12-31T23:59:59Z"
"""When a loaded model goes: when its room is needed, which nobody knows."""

ARCHITECTURE = "unknown"
"""Clients look for ``<architecture>.context_length``, so there has to be one."""

_CAPABILITIES = {
    "chat": "completion",
    "completions": "completion",
    "tool": "tools",
    "function_calling": "tools",
    "image": "vision",
    "images": "vision",
    "reasoning": "thinking",
    "embed": "embedding",
    "embeddings": "embedding",
    "infill": "insert",
    "fim": "insert",
}
"""Words of a catalogue for what Ollama calls otherwise; other words are passed on."""

_show = msgspec.json.Decoder(ShowAsked).decode


def tags_page(entries: Iterable[Entry], modified_at: str) -> dict[str, object]:
    """``GET /api/tags``: all models, loaded or not. ``modified_at``: RFC 3339."""
    return {"models": [{**_named(entry), "modified_at": modified_at, **_ours(entry)} for entry in entries]}


def ps_page(entries: Iterable[Entry]) -> dict[str, object]:
    """``GET /api/ps``: the models that are loaded."""
    return {
        "models": [
            {**_named(entry), "expires_at": FOREVER, "size_vram": 0, "context_length": entry["context"] or 0}
            | _ours(entry)
            for entry in entries
            if entry["status"] == "loaded"
        ]
    }


def show_page(entry: Entry, modified_at: str) -> dict[str, object]:
    """``POST /api/show``: one model."""
    context = entry["context"]
    info: dict[str, object] = {"general.architecture": ARCHITECTURE, "general.basename": entry["id"]}
    if context is not None:
        info[f"{ARCHITECTURE}.context_length"] = context
    return {
        "modelfile": "",
        "parameters": "" if context is None else f"num_ctx {context}",
        "template": "",
        "details": _details(),
        "model_info": info,
        "capabilities": capabilities_of(entry),
        "modified_at": modified_at,
        **_ours(entry),
    }


def version_page(cortex_version: str) -> dict[str, object]:
    """``GET /api/version``."""
    return {"version": OLLAMA_VERSION, "cortex": cortex_version}


def shown_name(body: bytes) -> str:
    """Return the model that ``POST /api/show`` asks for. Raises: MalformedRequest, ModelMissing."""
    asked = read_client_body(body, _show)
    return checked_model(asked.model or asked.name or "")


def find_entry(entries: Iterable[Entry], name: str) -> Entry | None:
    """Return the entry of a model by its id, an alias, or either with ``:latest``; None when there is none."""
    known = list(entries)
    for candidate in name_candidates(name):
        for entry in known:
            aliases = entry["aliases"]
            if entry["id"] == candidate or (isinstance(aliases, list | tuple) and candidate in aliases):
                return entry
    return None


def capabilities_of(entry: Entry) -> list[str]:
    """Return what a model can do in Ollama's words; one of which nothing is known completes text."""
    words = entry["capabilities"]
    listed = [str(word).lower() for word in words] if isinstance(words, list | tuple) else []
    own = list(dict.fromkeys(_CAPABILITIES.get(word, word) for word in listed))
    return own if {"embedding", "completion", "image"} & set(own) else ["completion", *own]


def _named(entry: Entry) -> dict[str, object]:
    """``digest`` tells models apart, which is what clients do with it; it says nothing of their weights."""
    name = str(entry["id"])
    digest = sha256(name.encode()).hexdigest()
    return {"name": name, "model": name, "size": 0, "digest": digest, "details": _details()}


def _details() -> dict[str, object]:
    return {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": [],
        "parameter_size": "",
        "quantization_level": "",
    }


def _ours(entry: Entry) -> dict[str, object]:
    return {"status": entry["status"], "nodes": entry["nodes"], "capabilities": capabilities_of(entry)}

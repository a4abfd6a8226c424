"""What a mistral.rs server says, in both dialects (up to 0.9.2 and from 0.9.3 on), as values. No socket is touched.

Source: mistral.rs v0.9.2 and the handlers of v0.9.3, read 2026-10. Its quirks that are handled here:

* the list begins with a pseudo-model ``default``, which fails after an unload: it is never shown and never sent;
* a model that is being loaded again is listed twice, beside itself; of two states the worse one counts;
* up to 0.9.2 a call that loads or unloads is always answered with 200, and ``status`` in the body says how it went;
* from 0.9.3 on the cause of a failed load is hidden: "Internal server error.";
* LoRA adapters are listed as if they were models.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import msgspec

from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.harness.interface import Activity
from cortex.neuron.shared_server import ModelState

PSEUDO_MODEL = "default"
_STATES: Mapping[str, ModelState] = {"reloading": "loading", "unloaded": "unloaded", "loaded": "loaded"}
"""The worst first."""
HIDDEN = "Internal server error."


class _Entry(msgspec.Struct):
    id: str
    status: str = "loaded"
    parent: str | None = None


class _List(msgspec.Struct):
    """``{"object": "list", "data": [{"id": …, "status": "loaded" | "unloaded" | "reloading", …}, …]}``."""

    data: list[_Entry]


class Listing(NamedTuple):
    """``GET /v1/models``: every model once. ``mixed``: those that were listed as loaded and as something else too."""

    states: Mapping[str, ModelState]
    mixed: frozenset[str]
    loaded: frozenset[str]
    """Those that have an entry as loaded, whatever else is said of them."""


def listing_in(body: bytes) -> Listing | None:
    """Return the models of an answer; None when it is no list of models."""
    try:
        entries = msgspec.json.decode(body, type=_List).data
    except NOT_JSON:
        return None
    said: dict[str, set[str]] = {}
    for entry in entries:
        if entry.id != PSEUDO_MODEL and entry.parent is None:
            said.setdefault(entry.id, set()).add(entry.status)
    return Listing(
        states={model: _worst(statuses) for model, statuses in said.items()},
        mixed=frozenset(model for model, statuses in said.items() if statuses > {"loaded"}),
        loaded=frozenset(model for model, statuses in said.items() if "loaded" in statuses),
    )


def _worst(statuses: Iterable[str]) -> ModelState:
    return next((state for status, state in _STATES.items() if status in statuses), "unloaded")


Outcome = Literal["done", "under_way", "unknown", "not_possible", "failed"]


class Verdict(NamedTuple):
    """How a call that loads or unloads went. ``words``: the server's own, where it has some."""

    outcome: Outcome
    words: str = ""


class _OldAnswer(msgspec.Struct):
    """``{"model_id", "status", "error"?}``: every answer up to 0.9.2, and the good ones of later versions."""

    status: str
    error: str | None = None


class _NewError(msgspec.Struct):
    message: str = ""
    code: str | None = None


class _NewAnswer(msgspec.Struct):
    """``{"error": {"message", "type", "param", "code"}}``, from 0.9.3 on."""

    error: _NewError


_OLD: Mapping[str, Outcome] = {
    "reloading": "under_way",
    "not_found": "unknown",
    "no_loader_config": "not_possible",
}
_NEW: Mapping[int, Outcome] = {404: "unknown", 409: "under_way"}


def verdict_of(status: int, body: bytes, wanted: Literal["loaded", "unloaded"]) -> Verdict:
    """Return what an answer to ``/v1/models/reload`` or ``/unload`` means, whichever dialect it is in."""
    if status == 200:
        return _old_verdict(body, wanted)
    try:
        error = msgspec.json.decode(body, type=_NewAnswer).error
    except NOT_JSON:
        return Verdict("failed", f"status {status}: {body[:200].decode(errors='replace').strip()}")
    if error.code == "invalid_model_operation":
        return Verdict("not_possible", error.message)
    return Verdict(_NEW.get(status, "failed"), "" if error.message == HIDDEN else error.message)


def _old_verdict(body: bytes, wanted: str) -> Verdict:
    try:
        answer = msgspec.json.decode(body, type=_OldAnswer)
    except NOT_JSON:
        return Verdict("failed", f"an answer that is none of mistral.rs: {body[:200].decode(errors='replace').strip()}")
    if answer.status == wanted:
        return Verdict("done")
    return Verdict(_OLD.get(answer.status, "failed"), answer.error or "")


class InfoDevice(msgspec.Struct, frozen=True):
    """One device as the server sees it."""

    kind: str
    ordinal: int | None = None
    name: str | None = None
    """None of a GPU, up to 0.9.2 at least."""
    total_memory_bytes: int | None = None


class InfoBuild(msgspec.Struct, frozen=True):
    """What the server was built of. ``cuda_toolkit_version``: from some version on, of a CUDA build."""

    version: str = ""
    cuda: bool = False
    cuda_toolkit_version: str | None = None


class Info(msgspec.Struct, frozen=True):
    """``GET /v1/system/info``."""

    build: InfoBuild
    devices: tuple[InfoDevice, ...] = ()
    hf_cache_path: str | None = None


def info_in(body: bytes) -> Info | None:
    """Return what a server says of itself; None when it cannot be read."""
    try:
        return msgspec.json.decode(body, type=Info)
    except NOT_JSON:
        return None


_LIFECYCLE = "/v1/models"
_NO_MODELS = ("", "none", "unknown")
_SAMPLE = re.compile(r"^(\w+)\{(.*)\} ([0-9.eE+-]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def activity_in(metrics: str, model: str | None = None) -> Activity | None:
    """Return the requests in the server for a model (or any), and how many it took; None when it counts none.

    A stream counts until its end. Calls that load and unload are counted under the model's name as well, and are no
    work of its; what names no model is counted under a word of its own. One to the pseudo-model counts as its default
    model's, and where there is none as being in each. Source: ``mistralrs-server-core/src/metrics.rs``, read 2026-11.
    """
    if not re.search(r"^(# TYPE )?http_requests_in_flight\b", metrics, re.MULTILINE):
        return None
    in_flight = work = 0.0
    for name, text, number in _SAMPLE.findall(metrics):
        labels = {key: _unescaped(value) for key, value in _LABEL.findall(text)}
        named = labels.get("model", "")
        if labels.get("path", "").startswith(_LIFECYCLE) or named in _NO_MODELS:
            continue
        is_meant = model is None or named == model
        if name == "http_requests_in_flight" and (is_meant or named == PSEUDO_MODEL):
            in_flight += float(number)
        elif name == "http_requests_total" and is_meant:
            work += float(number)
    return Activity(in_flight=int(in_flight), work=work + in_flight)


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)

"""Asks a server that speaks OpenAI's protocol whether it serves, and whether it is the one that is meant.

Its port may meanwhile be a stranger's, which is well in its own way: a server that lists its models must list ours.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.harness.interface import Activity
from cortex.neuron.process_engine import Ask, PathQuestions
from cortex.neuron.state_dir import Handle

MODELS_PATH = "/v1/models"
_NOT_OFFERED = (404, 405, 501)


class _Model(msgspec.Struct):
    id: str
    max_model_len: object = None
    """vLLM and SGLang: how many tokens one request may have (read 2026-11)."""


class _Models(msgspec.Struct):
    """``{"object": "list", "data": [{"id": …}, …]}``, as every such server answers ``GET /v1/models``."""

    data: list[_Model]


def listed_models(body: bytes) -> dict[str, int | None] | None:
    """Return the ids in an answer to ``GET /v1/models``, each with how many tokens one request may have, where that is
    said; None when it is no such answer."""
    try:
        data = msgspec.json.decode(body, type=_Models).data
    except NOT_JSON:
        return None
    return {model.id: _positive(model.max_model_len) for model in data}


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 and not isinstance(value, bool) else None


class NamedQuestions(NamedTuple):
    """The questions of ``PathQuestions``, and after the first its list of models."""

    ready_path: str
    metrics_path: str | None = None
    read: Callable[[str], Activity | None] | None = None
    knows_name: bool = True
    """It was told under which name to serve the model, so its list says that."""

    async def is_serving(self, ask: Ask, handle: Handle) -> bool:
        """Tell whether it is ready and has our model on its list, where it has a list."""
        if not await PathQuestions(self.ready_path).is_serving(ask, handle):
            return False
        reply = await ask(MODELS_PATH)
        if reply is None or reply.status != 200:
            return reply is not None and reply.status in _NOT_OFFERED
        return not self.knows_name or handle.engine_model in (listed_models(reply.body) or ())

    async def context(self, ask: Ask, handle: Handle) -> int | None:
        """Return how many tokens a request may have, where its list of models says it."""
        reply = await ask(MODELS_PATH)
        if reply is None or reply.status != 200:
            return None
        listed = listed_models(reply.body) or {}
        return listed.get(handle.engine_model) or (next(iter(listed.values())) if len(listed) == 1 else None)

    async def activity(self, ask: Ask) -> Activity | None:
        """Return what its metrics say."""
        if self.read is None:
            return None
        return await PathQuestions(metrics_path=self.metrics_path, read=self.read).activity(ask)

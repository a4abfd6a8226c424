"""Asks a server that speaks OpenAI's protocol whether it serves, and whether it is the one that is meant.

Its port may meanwhile be a stranger's, which is well in its own way: a server that lists its models must list ours.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from cortex.neuron.harness.interface import Activity
from cortex.neuron.process_engine import Ask, PathQuestions
from cortex.neuron.state_dir import Handle

MODELS_PATH = "/v1/models"
_NOT_OFFERED = (404, 405, 501)


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    """``{"object": "list", "data": [{"id": …}, …]}``, as every such server answers ``GET /v1/models``."""

    data: list[_Model]


def listed_ids(body: bytes) -> tuple[str, ...] | None:
    """Return the ids in an answer to ``GET /v1/models``; None when it is none."""
    try:
        return tuple(model.id for model in msgspec.json.decode(body, type=_Models).data)
    except msgspec.MsgspecError:
        return None


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
        return not self.knows_name or handle.engine_model in (listed_ids(reply.body) or ())

    async def activity(self, ask: Ask) -> Activity | None:
        """Return what its metrics say."""
        if self.read is None:
            return None
        return await PathQuestions(metrics_path=self.metrics_path, read=self.read).activity(ask)

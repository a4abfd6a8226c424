"""Which checkpoint of a ComfyUI a load means: by its file's name, whole or in part."""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from cortex.contract.instance import LoadRequest
from cortex.neuron.refusal import SourceMissing

_NAMES: tuple[Callable[[PurePosixPath], str], ...] = (str, lambda path: path.name, lambda path: path.stem)
"""What may be said of a file, the most exact first."""


def chosen_checkpoint(request: LoadRequest, there: Sequence[str]) -> str:
    """Return the checkpoint that ``source`` names, else the model's id or the last part of it.

    Raises: SourceMissing with those that there are.
    """
    wanted = (request.source,) if request.source else (request.model_id, request.model_id.rpartition("/")[2])
    for words in wanted:
        for name_of in _NAMES:
            found = [name for name in there if name_of(PurePosixPath(name.replace("\\", "/"))) == words]
            if len(found) > 1:
                raise SourceMissing(f"'{words}' may be {' or '.join(found)}: give one as `source`", checkpoints=found)
            if found:
                return found[0]
    raise SourceMissing(
        f"ComfyUI has no checkpoint '{wanted[0]}'; it has: {', '.join(there) or 'none'}", checkpoints=list(there)
    )

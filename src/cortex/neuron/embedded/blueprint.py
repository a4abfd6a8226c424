"""The parameters of a tiny model; ``tiny_model.py`` writes it, ``weight.py`` fills it."""

from typing import NamedTuple

from cortex.neuron.embedded.template import CHAT_TEMPLATE


class TinyModel(NamedTuple):
    """What a tiny model is like."""

    name: str = "tiny"
    layers: int = 2
    dim: int = 64
    ffn: int = 128
    heads: int = 4
    ctx: int = 4096
    seed: int = 0
    eos_bias: float | None = 1.5
    """Weight of the end of a turn: 1.5 gives 50 to 80 tokens at temperature 0.8; None never ends by itself."""
    f16: bool = False
    pooling: str | None = None
    """``mean``, ``last`` or ``cls``: the pooling that the file asks for, so that ``--embeddings`` alone suffices."""
    chat_template: str | None = CHAT_TEMPLATE

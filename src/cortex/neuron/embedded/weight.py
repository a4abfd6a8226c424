"""Seeded random weights that behave: printable replies, a knob for their length, a tool call when tools are offered.

Three things are set by hand, the rest is noise from one generator, so that equal arguments give equal bytes:

1. Channel 0 of the residual stream is a constant: every embedding row has it and no layer writes to it. Column 0 of
   the output matrix is therefore a bias per token, which forbids what is unprintable and weighs the end of a turn.
2. Channels 1 to 6 are wires: embeddings of the tool markers write to them, nothing else does.
3. Two attention heads of layer 0 look back along those wires: "were tools offered?" and "was there a call or a result
   already?". Together they make a reply begin with a tool call exactly once per offered set of tools.

The constants were tuned by measurement: a call with tool_choice auto, required and named in 20 of 20 runs, no call
without tools, text after the tool's result (dim 32 to 512, 2 to 480 layers, llama.cpp build 11549).
"""

from collections.abc import Iterator

import gguf
import numpy as np

from cortex.neuron.embedded import vocabulary as v
from cortex.neuron.embedded.blueprint import TinyModel

Matrix = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Tensor = tuple[str, Matrix]

BIAS = 0
AT_NEWLINE, TOOLS_HERE, CALLED_HERE, TOOLS_SEEN, CALLED_SEEN, AT_CLOSE = range(1, 7)
WIRES = 7
"""Channels that only the hand-set weights write to."""

NEVER = -30.0
"""Logit bias of a token that must not come out."""


def tensors(model: TinyModel, vocabulary: v.Vocabulary) -> Iterator[Tensor]:
    """Yield every tensor of the model by its GGUF name, in file order."""
    rng = np.random.default_rng(model.seed)
    yield "token_embd.weight", _embedding(rng, model, vocabulary)
    head = _output(rng, model, vocabulary)
    yield "output_norm.weight", np.ones(model.dim, np.float32)
    yield "output.weight", head
    for layer in range(model.layers):
        yield from _layer(rng, model, layer)


def _noise(rng: np.random.Generator, rows: int, columns: int, scale: float) -> Matrix:
    return rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale)


def _embedding(rng: np.random.Generator, model: TinyModel, vocabulary: v.Vocabulary) -> Matrix:
    matrix = _noise(rng, len(vocabulary.tokens), model.dim, 1.0)
    matrix[:, :WIRES] = 0.0
    loud = np.sqrt(model.dim)
    matrix[:, BIAS] = loud
    for token, wire in (
        (v.NEWLINE, AT_NEWLINE),
        (v.TOOLS, TOOLS_HERE),
        (v.TOOL_RESPONSE, CALLED_HERE),
        (v.TOOL_CALL, CALLED_HERE),
        (b">", AT_CLOSE),
    ):
        matrix[vocabulary.id_of(token), wire] = loud
    return matrix


def _output(rng: np.random.Generator, model: TinyModel, vocabulary: v.Vocabulary) -> Matrix:
    # After the last norm channel 0 is close to sqrt(dim)/rms, with rms about sqrt(2).
    constant = np.sqrt(model.dim) / np.sqrt(2.0)
    unit = 8.0 / np.sqrt(model.dim)
    matrix = _noise(rng, len(vocabulary.tokens), model.dim, 1.6 / np.sqrt(model.dim))
    matrix[:, :WIRES] = 0.0
    matrix[:, BIAS] = _bias(model, vocabulary) / constant
    end = vocabulary.id_of(v.END_OF_TURN)
    matrix[end, WIRES:] = 0.0
    matrix[end, AT_CLOSE] = 4.0 * unit  # sure to end after the ">" of a finished tool call
    matrix[end, AT_NEWLINE] = -12.0 * unit  # no reply is empty: it begins behind a newline
    call = vocabulary.id_of(v.TOOL_CALL)
    matrix[call, :] = 0.0
    matrix[call, BIAS] = -40.0 / constant
    # Wins only at a newline (the start of a reply) with tools seen and no call seen.
    matrix[call, AT_NEWLINE], matrix[call, TOOLS_SEEN], matrix[call, CALLED_SEEN] = 7 * unit, 12 * unit, -30 * unit
    return matrix


def _bias(model: TinyModel, vocabulary: v.Vocabulary) -> Matrix:
    bias = np.full(len(vocabulary.tokens), NEVER, dtype=np.float32)
    for index, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.kinds, strict=True)):
        if kind == gguf.TokenType.NORMAL:
            bias[index] = _character_bias(token)
    bias[vocabulary.id_of(v.NEWLINE)] = -2.0
    bias[vocabulary.id_of(v.END_OF_TURN)] = NEVER if model.eos_bias is None else model.eos_bias
    return bias


def _character_bias(token: bytes) -> float:
    if token == v.SPACE:
        return 1.5
    if token in (b'"', b"}", b"]"):
        return 2.0  # lets JSON close soon
    if token == b",":
        return -10.0  # one tool call with few arguments
    return 1.0 if token.isalpha() else 0.0


def _layer(rng: np.random.Generator, model: TinyModel, layer: int) -> Iterator[Tensor]:
    prefix, dim = f"blk.{layer}.", model.dim
    scale = 0.5 / np.sqrt(dim)
    query, key, value = (_noise(rng, dim, dim, scale) for _ in range(3))
    mix = _noise(rng, dim, dim, scale / model.layers)
    mix[:WIRES, :] = 0.0
    if layer == 0:
        _set_memory_heads(model, query, key, value, mix)
    gate, up = (_noise(rng, model.ffn, dim, scale) for _ in range(2))
    down = _noise(rng, dim, model.ffn, scale / model.layers)
    down[:WIRES, :] = 0.0
    yield prefix + "attn_norm.weight", np.ones(dim, np.float32)
    yield prefix + "ffn_norm.weight", np.ones(dim, np.float32)
    yield prefix + "attn_q.weight", query
    yield prefix + "attn_k.weight", key
    yield prefix + "attn_v.weight", value
    yield prefix + "attn_output.weight", mix
    yield prefix + "ffn_gate.weight", gate
    yield prefix + "ffn_up.weight", up
    yield prefix + "ffn_down.weight", down


def _set_memory_heads(model: TinyModel, query: Matrix, key: Matrix, value: Matrix, mix: Matrix) -> None:
    width = model.dim // model.heads
    for head, (source, target) in enumerate(((TOOLS_HERE, TOOLS_SEEN), (CALLED_HERE, CALLED_SEEN))):
        rows = slice(head * width, (head + 1) * width)
        query[rows], key[rows], value[rows], mix[:, rows] = 0.0, 0.0, 0.0, 0.0
        last = head * width + width - 1  # the pair that the rotary embedding turns least
        query[last, BIAS] = key[last, source] = 2.5
        value[head * width, source] = mix[target, head * width] = 1.0

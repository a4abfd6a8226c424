"""What is set by hand in the tiny models' weights stays untouched by the noise around it."""

import numpy as np
import pytest

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.vocabulary import END_OF_TURN, TOOL_CALL, build_vocabulary
from cortex.neuron.embedded.weight import AT_NEWLINE, BIAS, CALLED_SEEN, TOOLS_SEEN, WIRES, tensors

VOCABULARY = build_vocabulary()


def weights(**changes):
    return dict(tensors(TinyModel(**changes), VOCABULARY))


def test_the_constant_channel_is_the_same_for_every_token():
    embedding = weights()["token_embd.weight"]
    assert np.unique(embedding[:, BIAS]).tolist() == [8.0]


@pytest.mark.parametrize("name", ["attn_output", "ffn_down"])
def test_no_layer_writes_to_the_wires_except_the_two_memory_heads(name):
    matrices = weights(layers=3)
    for layer in range(3):
        rows = matrices[f"blk.{layer}.{name}.weight"][:WIRES]
        written = {(row, column) for row, column in zip(*np.nonzero(rows), strict=True)}
        heads = {(TOOLS_SEEN, 0), (CALLED_SEEN, 16)} if (layer, name) == (0, "attn_output") else set()
        assert written == heads


def test_a_model_without_an_end_never_ends():
    head = weights(eos_bias=None)["output.weight"]
    end = VOCABULARY.id_of(END_OF_TURN)
    printable = VOCABULARY.id_of(b"a")
    assert head[end, BIAS] < head[printable, BIAS] - 4


def test_a_reply_cannot_end_where_it_begins():
    head = weights()["output.weight"]
    end = VOCABULARY.id_of(END_OF_TURN)
    assert head[end, AT_NEWLINE] < -2 * abs(head[end, BIAS])


def test_the_tool_call_marker_needs_its_switch():
    head = weights()["output.weight"]
    row = head[VOCABULARY.id_of(TOOL_CALL)]
    assert row[BIAS] < 0 < row[TOOLS_SEEN]
    assert row[CALLED_SEEN] < -row[TOOLS_SEEN]
    assert not row[WIRES:].any()


def test_another_seed_gives_other_weights():
    one, two = weights(seed=1), weights(seed=2)
    assert not np.array_equal(one["blk.1.ffn_up.weight"], two["blk.1.ffn_up.weight"])

"""The tiny models are written whole, readable by others' GGUF readers, and the same bytes each time."""

import gguf
import numpy as np
import pytest

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import DEMO_CONTEXT_TOKENS, main, write_demo_model, write_model


def field(path, key):
    return gguf.GGUFReader(path).fields[key].contents()


def test_the_demo_model_is_the_same_bytes_each_time(tmp_path):
    one, two = write_demo_model(tmp_path / "1.gguf"), write_demo_model(tmp_path / "2.gguf")
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_size < 600_000


def test_the_demo_model_says_what_it_is(tmp_path):
    path = write_demo_model(tmp_path / "deep" / "folder" / "demo.gguf")
    assert field(path, "general.name") == "cortex-demo"
    assert field(path, "llama.context_length") == DEMO_CONTEXT_TOKENS
    assert field(path, "llama.pooling_type") == gguf.PoolingType.MEAN
    assert "tool_call" in field(path, "tokenizer.chat_template")


def test_a_seed_changes_the_bytes(tmp_path):
    one = write_model(tmp_path / "1.gguf", TinyModel(seed=1))
    two = write_model(tmp_path / "2.gguf", TinyModel(seed=2))
    assert one.read_bytes() != two.read_bytes()


def test_half_precision_halves_the_matrices_and_keeps_the_norms(tmp_path):
    kinds = {t.name: t.tensor_type for t in gguf.GGUFReader(write_model(tmp_path / "h", TinyModel(f16=True))).tensors}
    assert kinds["blk.0.attn_q.weight"] == gguf.GGMLQuantizationType.F16
    assert kinds["blk.0.attn_norm.weight"] == gguf.GGMLQuantizationType.F32


def test_no_half_written_file_is_left_when_writing_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_model(tmp_path / "x.gguf", TinyModel(heads=0))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced(tmp_path):
    (tmp_path / "x.gguf").write_text("old")
    write_model(tmp_path / "x.gguf", TinyModel())
    assert (tmp_path / "x.gguf").read_bytes()[:4] == b"GGUF"


def test_the_command_line_writes_a_model_of_the_asked_shape(tmp_path, capsys):
    path = tmp_path / "c.gguf"
    assert main([str(path), "--layers", "3", "--dim", "32", "--heads", "2", "--pooling", "last"]) == 0
    assert str(path) in capsys.readouterr().out
    assert (field(path, "llama.block_count"), field(path, "llama.embedding_length")) == (3, 32)
    assert np.isfinite(gguf.GGUFReader(path).tensors[0].data).all()

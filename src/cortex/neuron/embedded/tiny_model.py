"""Writes small language models from nothing, for a first run without a download and for tests against a real engine.

The file is a real model to llama.cpp: tokenizer, chat template, chat, tool calls, JSON schemas, embeddings. It talks
nonsense. Nothing is trained and nothing is downloaded; equal parameters give equal bytes. Run it as
``python -m cortex.neuron.embedded.tiny_model OUT.gguf --layers 480`` for a slow one (depth is what costs time:
2 layers 4300 tokens/s on one thread, 64 layers 190, 480 layers 34; measured 2026-11 on 2 cores).
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path

import gguf
import numpy as np

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.vocabulary import BOS, END_OF_TURN, EOS, Vocabulary, build_vocabulary
from cortex.neuron.embedded.weight import tensors

DEMO_NAME = "cortex-demo"
DEMO_CONTEXT_TOKENS = 131072
"""Room for a coding agent's prompt, at about one token per character."""


def write_demo_model(path: Path) -> Path:
    """Write the demo model (0.5 MB, some 20 ms) to ``path`` and return it; an existing file is replaced whole."""
    return write_model(path, TinyModel(name=DEMO_NAME, ctx=DEMO_CONTEXT_TOKENS, pooling="mean"))


def write_model(path: Path, model: TinyModel) -> Path:
    """Write ``model`` as GGUF to ``path`` and return it; a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    vocabulary = build_vocabulary()
    writer = gguf.GGUFWriter(str(unfinished), "llama")
    try:
        _describe(writer, model, len(vocabulary.tokens))
        _add_tokenizer(writer, model, vocabulary)
        for name, matrix in tensors(model, vocabulary):
            wanted = np.float16 if model.f16 and matrix.ndim == 2 else np.float32
            writer.add_tensor(name, np.ascontiguousarray(matrix.astype(wanted)))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):  # of a disk that is full: told already
            writer.close()
        unfinished.unlink(missing_ok=True)
    return path


def _describe(writer: gguf.GGUFWriter, model: TinyModel, vocabulary_size: int) -> None:
    writer.add_name(model.name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if model.f16 else gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(model.ctx)
    writer.add_embedding_length(model.dim)
    writer.add_block_count(model.layers)
    writer.add_feed_forward_length(model.ffn)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(model.dim // model.heads)
    writer.add_rope_freq_base(1e9)  # the last pair of each head hardly turns: the memory heads rely on it
    writer.add_vocab_size(vocabulary_size)
    if model.pooling:
        writer.add_pooling_type(gguf.PoolingType[model.pooling.upper()])


def _add_tokenizer(writer: gguf.GGUFWriter, model: TinyModel, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.kinds)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_unk_token_id(0)
    writer.add_eot_token_id(vocabulary.id_of(END_OF_TURN))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    if model.chat_template:
        writer.add_chat_template(model.chat_template)


def main(argv: list[str]) -> int:
    """Write one model as the command line says."""
    parser = argparse.ArgumentParser(prog="tiny_model", description="Write a small random language model as GGUF.")
    parser.add_argument("out", type=Path)
    plain = TinyModel()
    for field in ("layers", "dim", "ffn", "heads", "ctx", "seed"):
        parser.add_argument(f"--{field}", type=int, default=getattr(plain, field))
    parser.add_argument("--name", default=plain.name)
    parser.add_argument("--pooling", choices=("mean", "last", "cls"))
    parser.add_argument("--f16", action="store_true")
    parser.add_argument("--eos-bias", type=float, default=plain.eos_bias, help="-30: never ends by itself")
    values = vars(parser.parse_args(argv))
    path = write_model(values.pop("out"), TinyModel(**values))
    print(f"{path} {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The llama-server flags that the embedded engine understands, as a table.

Each row names the flag as llama-server has it, its environment variable, and the attribute of
``xllamacpp.CommonParams`` that it sets. Names, variables and defaults follow llama.cpp's server README (build 11549).
Flags that the wheel cannot honour are left out on purpose: an unknown flag ends the process like llama-server does,
where a silently ignored one would claim what is not so.
"""

from collections.abc import Callable
from typing import NamedTuple

TRUTHS = frozenset({"1", "true", "on", "enabled"})
FALSEHOODS = frozenset({"0", "false", "off", "disabled"})


def switch(text: str) -> bool:
    """Read llama-server's spelling of a boolean; ValueError for anything else."""
    if text in TRUTHS:
        return True
    if text in FALSEHOODS:
        return False
    raise ValueError(text)


def words(text: str) -> list[str]:
    """Split at commas, dropping empty parts."""
    return [part for part in text.split(",") if part]


def shares(text: str) -> list[float]:
    """Read ``--tensor-split``: proportions separated by commas or slashes."""
    return [float(part) for part in text.replace("/", ",").split(",") if part]


def layers(text: str) -> int:
    """Read ``--n-gpu-layers``: a number, ``auto`` (-1) or ``all`` (-2), as llama.cpp numbers them."""
    return {"auto": -1, "all": -2}.get(text) or int(text)


class Member(NamedTuple):
    """One member of one of the wheel's enums, by name, since the wheel is imported only when the server starts."""

    enum: str
    name: str


def choice(enum: str, prefix: str, *allowed: str) -> Callable[[str], Member]:
    """Return a reader of the ``allowed`` words into members of ``enum``; ValueError for any other word."""

    def read(text: str) -> Member:
        if text not in allowed:
            raise ValueError(text)
        return Member(enum, prefix + text.upper().replace("-", "_"))

    return read


def flash_attention(text: str) -> Member:
    """Read ``--flash-attn``: ``auto`` or a boolean."""
    name = "AUTO" if text == "auto" else "ENABLED" if switch(text) else "DISABLED"
    return Member("llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_" + name)


pooling = choice("llama_pooling_type", "LLAMA_POOLING_TYPE_", "none", "mean", "cls", "last", "rank")
split_mode = choice("llama_split_mode", "LLAMA_SPLIT_MODE_", "none", "layer", "row", "tensor")
cache_type = choice("ggml_type", "GGML_TYPE_", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
reasoning_format = choice(
    "common_reasoning_format", "COMMON_REASONING_FORMAT_", "none", "auto", "deepseek", "deepseek-legacy"
)


class Flag(NamedTuple):
    """One flag that takes a value; ``read`` turns its text into what ``target`` holds, or raises ValueError."""

    names: tuple[str, ...]
    target: str
    read: Callable[[str], object]
    env: str = ""


class Toggle(NamedTuple):
    """One flag without a value; ``off`` holds the names that turn it off."""

    on: tuple[str, ...]
    target: str
    off: tuple[str, ...] = ()
    env: str = ""


VALUED = (
    Flag(("-m", "--model"), "model.path", str, "LLAMA_ARG_MODEL"),
    Flag(("-a", "--alias"), "model_alias", words, "LLAMA_ARG_ALIAS"),
    Flag(("--tags",), "model_tags", words, "LLAMA_ARG_TAGS"),
    Flag(("--host",), "hostnames", words, "LLAMA_ARG_HOST"),
    Flag(("--port",), "port", int, "LLAMA_ARG_PORT"),
    Flag(("-c", "--ctx-size"), "n_ctx", int, "LLAMA_ARG_CTX_SIZE"),
    Flag(("-n", "--predict", "--n-predict"), "n_predict", int, "LLAMA_ARG_N_PREDICT"),
    Flag(("-b", "--batch-size"), "n_batch", int, "LLAMA_ARG_BATCH"),
    Flag(("-ub", "--ubatch-size"), "n_ubatch", int, "LLAMA_ARG_UBATCH"),
    Flag(("-np", "--parallel"), "n_parallel", int, "LLAMA_ARG_N_PARALLEL"),
    Flag(("-t", "--threads"), "cpuparams.n_threads", int, "LLAMA_ARG_THREADS"),
    Flag(("-tb", "--threads-batch"), "cpuparams_batch.n_threads", int),
    Flag(("--threads-http",), "n_threads_http", int, "LLAMA_ARG_THREADS_HTTP"),
    Flag(("-ngl", "--gpu-layers", "--n-gpu-layers"), "n_gpu_layers", layers, "LLAMA_ARG_N_GPU_LAYERS"),
    Flag(("-ts", "--tensor-split"), "tensor_split", shares, "LLAMA_ARG_TENSOR_SPLIT"),
    Flag(("-sm", "--split-mode"), "split_mode", split_mode, "LLAMA_ARG_SPLIT_MODE"),
    Flag(("-mg", "--main-gpu"), "main_gpu", int, "LLAMA_ARG_MAIN_GPU"),
    Flag(("-fa", "--flash-attn"), "flash_attn_type", flash_attention, "LLAMA_ARG_FLASH_ATTN"),
    Flag(("-ctk", "--cache-type-k"), "cache_type_k", cache_type, "LLAMA_ARG_CACHE_TYPE_K"),
    Flag(("-ctv", "--cache-type-v"), "cache_type_v", cache_type, "LLAMA_ARG_CACHE_TYPE_V"),
    Flag(("-cram", "--cache-ram"), "cache_ram_mib", int, "LLAMA_ARG_CACHE_RAM"),
    Flag(("--cache-reuse",), "n_cache_reuse", int, "LLAMA_ARG_CACHE_REUSE"),
    Flag(("-fit", "--fit"), "fit_params", switch, "LLAMA_ARG_FIT"),
    Flag(("-mm", "--mmproj"), "mmproj.path", str, "LLAMA_ARG_MMPROJ"),
    Flag(("--api-key",), "api_keys", words, "LLAMA_API_KEY"),
    Flag(("--api-prefix",), "api_prefix", str, "LLAMA_ARG_API_PREFIX"),
    Flag(("--pooling",), "pooling_type", pooling, "LLAMA_ARG_POOLING"),
    Flag(("--chat-template",), "chat_template", str, "LLAMA_ARG_CHAT_TEMPLATE"),
    Flag(("--reasoning-format",), "reasoning_format", reasoning_format, "LLAMA_ARG_THINK"),
    Flag(("-to", "--timeout"), "timeout_read", int, "LLAMA_ARG_TIMEOUT"),
    Flag(("--sse-ping-interval",), "sse_ping_interval", int, "LLAMA_ARG_SSE_PING_INTERVAL"),
    Flag(("--sleep-idle-seconds",), "sleep_idle_seconds", int),
    Flag(("--slot-save-path",), "slot_save_path", str),
    Flag(("--temp",), "sampling.temp", float),
    Flag(("--top-k",), "sampling.top_k", int, "LLAMA_ARG_TOP_K"),
    Flag(("--top-p",), "sampling.top_p", float),
    Flag(("--min-p",), "sampling.min_p", float),
    Flag(("--repeat-penalty",), "sampling.penalty_repeat", float),
    Flag(("-s", "--seed"), "sampling.seed", int),
    Flag(("-lv", "--verbosity", "--log-verbosity"), "verbosity", int, "LLAMA_ARG_LOG_VERBOSITY"),
)

TOGGLES = (
    Toggle(("--metrics",), "endpoint_metrics", env="LLAMA_ARG_ENDPOINT_METRICS"),
    Toggle(("--props",), "endpoint_props", env="LLAMA_ARG_ENDPOINT_PROPS"),
    Toggle(("--slots",), "endpoint_slots", ("--no-slots",), "LLAMA_ARG_ENDPOINT_SLOTS"),
    Toggle(("--embedding", "--embeddings"), "embedding", env="LLAMA_ARG_EMBEDDINGS"),
    Toggle(("--rerank", "--reranking"), "reranking", env="LLAMA_ARG_RERANKING"),
    Toggle(("--jinja",), "use_jinja", ("--no-jinja",), "LLAMA_ARG_JINJA"),
    Toggle(("--ui", "--webui"), "ui", ("--no-ui", "--no-webui"), "LLAMA_ARG_UI"),
    Toggle(("--warmup",), "warmup", ("--no-warmup",)),
    Toggle(("-kvu", "--kv-unified"), "kv_unified", ("--no-kv-unified",), "LLAMA_ARG_KV_UNIFIED"),
    Toggle(("--context-shift",), "ctx_shift", ("--no-context-shift",), "LLAMA_ARG_CONTEXT_SHIFT"),
    Toggle(("--reuse-port",), "reuse_port", env="LLAMA_ARG_REUSE_PORT"),
    Toggle(("--log-jsonl",), "log_json", env="LLAMA_ARG_LOG_JSONL"),
    Toggle(("--offline",), "offline", env="LLAMA_ARG_OFFLINE"),
)

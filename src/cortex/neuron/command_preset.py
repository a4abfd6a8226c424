"""Commands of servers that many run, by the kind of their entry: vLLM and SGLang.

Their flags, paths and metrics as documented for vLLM 0.8 to 0.21 and SGLang 0.4 to 0.5 (read 2026-11). A load's
``args`` may carry only what tunes the engine: nothing that writes files, opens ports, runs code or takes memory
unseen. An entry's own ``args`` may carry anything, and its ``allow_args`` let loads carry more.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from cortex.neuron.command_template import Words


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry of kind ``command`` says for itself, said for it."""

    words: Words
    """The program first; an entry's ``binary`` stands in its place."""
    env: Mapping[str, str] = {}
    check: tuple[str, ...] = ()
    """Arguments with which the program ends well where the server is installed, and at once."""
    ready_path: str = "/health"
    in_flight_metrics: tuple[str, ...] = ()
    work_metrics: tuple[str, ...] = ()
    stop_grace_s: float = 30
    parallel: int = 64
    """Requests at a time, where a load does not say."""
    quants: tuple[str, ...] = ()
    """What it can be told of a model's quantisation; it finds out by itself where it is not told."""
    allow_args: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """The name of what is run, without its folder."""
        return Path(str(self.words[0])).name


_BOTH_ALLOW = (
    *("--dtype", "--kv-cache-dtype", "--reasoning-parser", "--tool-call-parser", "--attention-backend"),
    *("--revision", "--tokenizer-mode"),
)

VLLM = Preset(
    words=(
        *("vllm", "serve", "${MODEL_PATH}", "--served-model-name", "${MODEL_ID}", "--host", "${HOST}"),
        *("--port", "${PORT}", "--tensor-parallel-size", "${DEVICE_COUNT}", "--max-num-seqs", "${PARALLEL}"),
        *("--uvicorn-log-level", "warning"),
        ("--gpu-memory-utilization", "${MEMORY_FRACTION}"),
        ("--max-model-len", "${CONTEXT}"),
        ("--quantization", "${QUANT}"),
    ),
    # As a flag the key would stand in the list of processes and in the log, which begins with all flags.
    env={"VLLM_API_KEY": "${KEY}", "VLLM_NO_USAGE_STATS": "1"},
    in_flight_metrics=("vllm:num_requests_running", "vllm:num_requests_waiting"),
    work_metrics=("vllm:prompt_tokens_total", "vllm:generation_tokens_total"),
    quants=(
        *("awq", "awq_marlin", "gptq", "gptq_marlin", "fp8", "modelopt", "modelopt_fp4", "bitsandbytes", "gguf"),
        *("compressed-tensors", "mxfp4", "torchao", "auto-round", "quark", "experts_int8"),
    ),
    allow_args=(
        *_BOTH_ALLOW,
        *("--max-model-len", "--max-num-batched-tokens", "--block-size", "--seed", "--enforce-eager"),
        *("--enable-prefix-caching", "--no-enable-prefix-caching", "--enable-chunked-prefill"),
        *("--no-enable-chunked-prefill", "--enable-auto-tool-choice", "--limit-mm-per-prompt", "--max-logprobs"),
        *("--override-generation-config", "--default-chat-template-kwargs", "--chat-template-content-format"),
        *("--enable-expert-parallel", "--runner", "--convert", "--task", "--async-scheduling"),
        *("--enable-prompt-tokens-details", "--max-seq-len-to-capture", "--rope-scaling", "--rope-theta"),
    ),
)

SGLANG = Preset(
    words=(
        *("python3", "-m", "sglang.launch_server", "--model-path", "${MODEL_PATH}"),
        *("--served-model-name", "${MODEL_ID}", "--host", "${HOST}", "--port", "${PORT}"),
        *("--tp-size", "${DEVICE_COUNT}", "--max-running-requests", "${PARALLEL}"),
        *("--api-key", "${KEY}", "--enable-metrics", "--log-level-http", "warning"),
        # The rest of what is free stays for graphs and activations, which are not in this fraction.
        ("--mem-fraction-static", "${FREE_MEMORY_FRACTION}"),
        ("--context-length", "${CONTEXT}"),
        ("--quantization", "${QUANT}"),
    ),
    check=("-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('sglang') is None)"),
    # Its health is that of a token which it makes for the question: one answer takes a second.
    in_flight_metrics=("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    work_metrics=("sglang:prompt_tokens_total", "sglang:generation_tokens_total"),
    quants=(
        *("awq", "awq_marlin", "gptq", "gptq_marlin", "fp8", "modelopt", "modelopt_fp8", "modelopt_fp4"),
        *("bitsandbytes", "gguf", "compressed-tensors", "mxfp4", "w8a8_int8", "w8a8_fp8", "w4afp8", "moe_wna16"),
    ),
    allow_args=(
        *_BOTH_ALLOW,
        *("--context-length", "--chunked-prefill-size", "--max-prefill-tokens", "--schedule-policy"),
        *("--schedule-conservativeness", "--page-size", "--max-total-tokens", "--random-seed", "--stream-interval"),
        *("--disable-radix-cache", "--disable-cuda-graph", "--cuda-graph-max-bs", "--sampling-backend"),
        *("--grammar-backend", "--is-embedding", "--enable-multimodal", "--enable-cache-report"),
        *("--sampling-defaults", "--watchdog-timeout"),
    ),
)

PRESETS: Mapping[str, Preset] = {"vllm": VLLM, "sglang": SGLANG}
"""By the kind of the entry."""

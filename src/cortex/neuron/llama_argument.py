"""What a load's ``args`` may say to llama-server: what tunes it, by name, and nothing else.

Its other flags write files, listen elsewhere, fetch from the network, take memory that nobody reserved, or run programs
(``--mcp-servers-json``, ``--tools``), and the next build may have more. Names as in its README (build 11549, 2026-11).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from cortex.contract.error import MalformedRequest

_NUMBER = re.compile(r"-\d[\d.eE+-]*")

OWN = frozenset({"-m", "--model", "-a", "--alias", "--host", "--port", "--api-prefix", "--api-key", "--api-key-file"})
"""What only the neuron may set: an engine with another address, fence or key would be out of its sight."""

FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("-c", "--ctx-size"), "context"),
    **dict.fromkeys(("-np", "--parallel"), "parallel"),
    **dict.fromkeys(("-mm", "--mmproj"), "mmproj"),
}
"""What has a field of its own in a load, which the memory is reckoned by."""

FILES = frozenset({"--chat-template-file", "--grammar-file", "-jf", "--json-schema-file", "--lora", "--control-vector"})
"""What reads a file that its callers can then see or feel: one below the model directories may be named."""

_TUNING = """
-t --threads -tb --threads-batch -C --cpu-mask -Cr --cpu-range --cpu-strict --prio --poll -Cb --cpu-mask-batch -Crb
--cpu-range-batch --cpu-strict-batch --prio-batch --poll-batch -b --batch-size -ub --ubatch-size --threads-http -cb
--cont-batching -nocb --no-cont-batching

-ngl --gpu-layers --n-gpu-layers -sm --split-mode -ts --tensor-split -mg --main-gpu -dev --device -fit --fit -fitt
--fit-target -fitc --fit-ctx -ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe -ncffn --n-cpu-ffn -kvo
--kv-offload -nkvo --no-kv-offload --op-offload --no-op-offload --repack -nr --no-repack --no-host --mlock --mmap
--no-mmap -lm --load-mode --numa -mmdev --mmproj-device --mmproj-offload --no-mmproj-offload -ctk --cache-type-k -ctv
--cache-type-v -fa --flash-attn --swa-full -kvu --kv-unified -no-kvu --no-kv-unified -cram --cache-ram --cache-reuse
--cache-prompt --no-cache-prompt --cache-idle-slots --no-cache-idle-slots -ctxcp --ctx-checkpoints --swa-checkpoints
-cms --checkpoint-min-step --context-shift --no-context-shift

--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale --yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor
--yarn-beta-slow --yarn-beta-fast --override-kv --check-tensors --warmup --no-warmup --embedding --embeddings
--pooling --rerank --reranking --embd-normalize --image-min-tokens --image-max-tokens --mtmd-batch-max-tokens
--video-fps --video-timestamp-interval --spm-infill

--jinja --no-jinja --chat-template --chat-template-kwargs --reasoning-format -rea --reasoning --reasoning-effort
--reasoning-budget --reasoning-budget-message --reasoning-preserve --no-reasoning-preserve --skip-chat-parsing
--no-skip-chat-parsing --prefill-assistant --no-prefill-assistant -sp --special -r --reverse-prompt -n --predict
--n-predict --keep -e --escape --no-escape

--samplers -s --seed --sampler-seq --sampling-seq --ignore-eos --temp --temperature --top-k --top-p --min-p
--top-nsigma --top-n-sigma --xtc-probability --xtc-threshold --typical --typical-p --repeat-last-n --repeat-penalty
--presence-penalty --frequency-penalty --dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n
--dry-sequence-breaker --adaptive-target --adaptive-decay --dynatemp-range --dynatemp-exp --mirostat --mirostat-lr
--mirostat-ent -l --logit-bias --grammar -j --json-schema -bs --backend-sampling

--spec-type --spec-ngram-mod-n-min --spec-ngram-mod-n-max --spec-ngram-mod-n-match --spec-ngram-simple-size-n
--spec-ngram-simple-size-m --spec-ngram-simple-min-hits --spec-ngram-map-k-size-n --spec-ngram-map-k-size-m
--spec-ngram-map-k-min-hits --spec-draft-n-max --spec-draft-n-min --spec-draft-p-min --draft-p-min

-to --timeout --sse-ping-interval --sleep-idle-seconds -sps --slot-prompt-similarity --slots --no-slots --ui --webui
--no-ui --no-webui --tags -v --verbose --log-verbose -lv --verbosity --log-verbosity --log-prefix --no-log-prefix
--log-timestamps --no-log-timestamps --perf --no-perf --metrics --offline
"""
"""By what they are about: threads; where the model is; what it is; how it talks; sampling; speculation; the server."""

TUNING = frozenset(_TUNING.split())
"""What a load may always give."""


def own_flags(args: Sequence[str]) -> list[str]:
    """Return those of somebody's arguments that only the neuron may set."""
    return [word for word, flag in _flags(args) if flag in OWN]


def check_args(args: Sequence[str], allowed: Collection[str], model_dirs: Sequence[str]) -> None:
    """Check a load's arguments. ``allowed``: what the entry lets loads give besides. Raises: MalformedRequest."""
    also = {_plain(flag) for flag in allowed}
    for position, (word, flag) in enumerate(_words(args)):
        if flag is None:
            continue
        if flag in OWN:
            raise _refusal(f"{word} cannot be given, the neuron sets it itself")
        if flag in FIELDS and flag not in also:
            raise _refusal(f"{word} cannot be given, `{FIELDS[flag]}` of the load says that")
        if flag in FILES and flag not in also:
            after = args[position + 1] if position + 1 < len(args) else ""
            _check_files(word, word.partition("=")[2] or after, model_dirs)
        elif flag not in also and flag not in TUNING and flag not in FIELDS:
            raise _refusal(
                f"{word.partition('=')[0]} cannot be given by a load, only what tunes the engine can; "
                "the entry's own `args` can have it, or its `allow_args` let loads give it"
            )


def _words(args: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield every word with the flag that it is, None for a value."""
    for word in args:
        is_flag = word.startswith("-") and not _NUMBER.fullmatch(word)
        yield word, _plain(word.partition("=")[0]) if is_flag else None


def _flags(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((word, flag) for word, flag in _words(args) if flag is not None)


def _plain(flag: str) -> str:
    """Return a flag as llama-server reads it, to which an underscore is a dash."""
    return flag.replace("_", "-") if flag.startswith("--") else flag


def _check_files(word: str, value: str, model_dirs: Sequence[str]) -> None:
    """Check the files that a flag names, with commas between them."""
    roots = [Path(folder).resolve() for folder in model_dirs]
    for name in value.split(","):
        path = Path(name)
        if not path.is_absolute() or not any(path.resolve().is_relative_to(root) for root in roots):
            places = ", ".join(model_dirs) or "none are configured"
            raise _refusal(f"{word}: expected a file below model_dirs ({places}), got '{name}'")


def _refusal(words: str) -> MalformedRequest:
    return MalformedRequest(f"args: {words}", field="args")

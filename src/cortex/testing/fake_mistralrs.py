"""The program ``mistralrs``, without an engine: the flags of the real one, and what else it is to do in a variable.

    FAKE_MISTRALRS='{"version": "0.9.2"}' python -m cortex.testing.fake_mistralrs serve --host 127.0.0.1 -p 1234 -m a/b

Source: the argument structs of ``mistralrs-cli`` at v0.9.2. A flag that it does not know ends it, as clap does, and
SIGTERM at once. The server is ``fake_mistralrs_server.py``, imported when there is something to serve.
"""

import asyncio
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

OPTIONS_VARIABLE = "FAKE_MISTRALRS"
WITH_VALUE = {
    "--port": "-p",
    "--host": "",
    "--model-id": "-m",
    "--tokenizer": "-t",
    "--arch": "-a",
    "--dtype": "",
    "--format": "",
    "--quantized-file": "-f",
    "--mmproj": "",
    "--quant": "",
    "--isq": "",
    "--max-seqs": "",
    "--max-seq-len": "",
    "--max-batch-size": "",
    "--paged-attn": "",
    "--pa-context-len": "",
    "--pa-memory-mb": "",
    "--pa-memory-fraction": "",
    "--device-layers": "-n",
    "--hf-cache": "",
    "--chat-template": "-c",
    "--seed": "",
    "--token-source": "",
}
"""Long flags that take a value, and their short forms."""
WITHOUT_VALUE = ("--no-ui", "--disable-access-log", "--disable-metrics", "--cpu", "--no-kv-cache")
SUBCOMMANDS = ("auto", "text", "multimodal", "diffusion", "speech", "embedding")


class FakeModel(msgspec.Struct, frozen=True, kw_only=True):
    """How one model behaves. ``weights_mb``: memory that it takes; ``leak_mb``: what of it an unload leaves behind."""

    weights_mb: int = 0
    leak_mb: int = 0
    load_s: float = 0.0
    error: str | None = None
    """Why every load of it fails, also the first one: the server does not start then."""
    reload_error: str | None = None
    """Why it cannot be loaded a second time."""
    has_loader: bool = True


class FakeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the program's flags do not say. ``hold_loads``, ``hold_tokens``: they wait while these files are there."""

    version: str = "0.9.5"
    cuda_toolkit_version: str | None = None
    devices: tuple[dict[str, Any], ...] = ()
    models: dict[str, FakeModel] = {}
    hold_loads: str | None = None
    hold_tokens: str | None = None
    unloaded: tuple[str, ...] = ()
    """Models that are unloaded right after the start."""
    adapters: dict[str, str] = {}
    """LoRA adapters and the models that they belong to."""


def main(argv: Sequence[str], env: Mapping[str, str] = os.environ) -> int:
    """Do what the command line says; return the exit code."""
    options = msgspec.json.decode(env.get(OPTIONS_VARIABLE) or b"{}", type=FakeOptions)
    command = argv[0] if argv else "--help"
    if command == "--version":
        print(f"mistralrs {options.version}")
        return 0
    if command == "doctor":
        print(_doctor(options, is_json="--json" in argv))
        return 0
    if command == "from-config":
        return _serve_file(Path(argv[argv.index("-f") + 1]), options)
    if command != "serve":
        print(f"error: unrecognized subcommand '{command}'", file=sys.stderr)
        return 2
    if "--help" in argv:
        print(_help())
        return 0
    flags = parse([word for word in argv[1:] if word not in SUBCOMMANDS])
    if isinstance(flags, str):
        print(f"error: {flags}", file=sys.stderr)
        return 2
    model = flags.get("--model-id", "")
    return _serve((model,), flags, options)


def parse(words: Sequence[str]) -> dict[str, str] | str:
    """Return flags by their long names, or what is wrong, in clap's words."""
    short = {brief: flag for flag, brief in WITH_VALUE.items() if brief}
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word, _, inline = rest.pop(0).partition("=")
        flag = short.get(word, word)
        if flag in WITHOUT_VALUE:
            found[flag] = ""
        elif flag not in WITH_VALUE:
            return f"unexpected argument '{word}' found"
        elif inline or rest:
            found[flag] = inline or rest.pop(0)
        else:
            return f"a value is required for '{flag} <VALUE>' but none was supplied"
    return found


def _help() -> str:
    lines = [f"  {brief + ', ' if brief else '    '}{flag} <VALUE>" for flag, brief in WITH_VALUE.items()]
    return "\n".join(
        ["Usage: mistralrs serve [OPTIONS]", "", "Options:", *lines, *(f"      {f}" for f in WITHOUT_VALUE)]
    )


def _doctor(options: FakeOptions, *, is_json: bool) -> str:
    build: dict[str, Any] = {"version": options.version, "cuda": options.cuda_toolkit_version is not None}
    if options.cuda_toolkit_version is not None:
        build["cuda_toolkit_version"] = options.cuda_toolkit_version
    if is_json:
        report = {"system": {"os": "linux", "build": build, "devices": list(options.devices)}, "checks": []}
        return msgspec.json.format(msgspec.json.encode(report)).decode()
    return "mistralrs doctor\ngit revision: unknown\nOS: linux\n\n[OK] binary: runs"


def _serve_file(file: Path, options: FakeOptions) -> int:
    """Serve the models of a file for ``from-config``: all load at the start, or the server does not start."""
    config = tomllib.loads(file.read_text())
    server = config.get("server", {})
    flags = {"--host": str(server.get("host", "0.0.0.0")), "--port": str(server.get("port", 1234))}
    return _serve([model["model_id"] for model in config["models"]], flags, options)


def _serve(names: Sequence[str], flags: Mapping[str, str], options: FakeOptions) -> int:
    models = {name: options.models.get(name, FakeModel()) for name in names}
    try:
        asyncio.run(_run(models, flags, options))
    except (RuntimeError, OSError) as error:
        words = f"{error.strerror} (os error {error.errno})" if isinstance(error, OSError) else str(error)
        print(f"Error: {words}", file=sys.stderr)
        return 1
    return 0


async def _run(models: Mapping[str, FakeModel], flags: Mapping[str, str], options: FakeOptions) -> None:
    from cortex.testing.fake_mistralrs_server import FakeMistralRs  # it takes its time to import

    server = FakeMistralRs(models, options=options, has_metrics="--disable-metrics" not in flags)
    await server.listen(flags.get("--host", "0.0.0.0"), int(flags.get("--port", "1234")))
    print(f"INFO mistralrs: Server listening on {server.url}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

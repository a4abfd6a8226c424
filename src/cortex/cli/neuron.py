"""``cortex-neuron``: runs the node's daemon, or checks its configuration and stops there (``cortex-neuron check``).

Flags win over the environment, which wins over ``neuron.toml``.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from cortex import __version__
from cortex.cli.failure import told
from cortex.contract.error import ConfigError
from cortex.kit import log
from cortex.kit.http_client import HttpClient
from cortex.kit.settings import find_config
from cortex.neuron.harness.interface import Site
from cortex.neuron.harness.registry import build
from cortex.neuron.settings import NeuronSettings, load_neuron_settings

SEARCHED = "$CORTEX_NEURON_CONFIG, ./neuron.toml, ~/.config/cortex/neuron.toml, /etc/cortex/neuron.toml"


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    args = _parser().parse_args(argv)
    with told("cortex-neuron"):
        path, settings = _load(args.config, args.port)
        if args.command == "check":
            _check_entries(settings)
            _show(path, settings)
            return 0
        log.configure(settings.log_level, settings.log_format)
        for remark in _remarks(settings):
            logging.getLogger("cortex.cli.neuron").warning("%s", remark)  # not __name__: run as __main__
        from cortex.neuron.app import serve  # after the configuration: a wrong one is told at once

        return serve(settings)


def _load(config: Path | None, port: int | None) -> tuple[Path | None, NeuronSettings]:
    env = os.environ
    path = find_config(
        "neuron.toml", explicit=config, env=env, env_key="CORTEX_NEURON_CONFIG", cwd=Path.cwd(), home=Path.home()
    )
    settings = load_neuron_settings(path, env)
    if port is None:
        return path, settings
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port: expected 0 to 65535, got {port}")
    return path, msgspec.structs.replace(settings, port=port)


def _check_entries(settings: NeuronSettings) -> None:
    """Make the harnesses as the daemon would, for a node without devices. Raises: ConfigError."""
    site = Site(
        bind_host=settings.host,
        is_tethered=False,
        env={},
        model_dirs=settings.model_dirs,
        gpu_kinds=frozenset(),
        cores=1,
        http=HttpClient(),
    )
    build(settings.harnesses, lambda _: site)


def _show(path: Path | None, settings: NeuronSettings) -> None:
    print(f"configuration: {path or f'defaults (no file at {SEARCHED})'}")
    print(f"API on {settings.host}:{settings.port}")
    harnesses = (
        f"{entry.name} ({entry.kind})" if entry.name != entry.kind else entry.name for entry in settings.harnesses
    )
    print(f"harnesses: {', '.join(harnesses) or 'none configured'}")
    for remark in _remarks(settings):
        print(f"note: {remark}")


def _remarks(settings: NeuronSettings) -> Iterator[str]:
    """Yield what is allowed but hardly meant."""
    if not settings.harnesses:
        yield "no [[harnesses]]: this neuron can load nothing"
    for folder in settings.model_dirs:
        if not Path(folder).is_dir():
            yield f"model_dirs: {folder} is no directory"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cortex-neuron",
        description="Run the neuron of this GPU host; with `check`, look at its configuration only.",
        allow_abbrev=False,
    )
    parser.add_argument("command", nargs="?", choices=["serve", "check"], default="serve")
    parser.add_argument("--port", type=int, help="where the API listens (default: 9090)")
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"default: the first of {SEARCHED}")
    parser.add_argument("--version", action="version", version=f"cortex-neuron {__version__}")
    return parser


if __name__ == "__main__":
    main()

"""``cortex-neuron``: runs the node's daemon, or checks its configuration, says what it would offer, and stops there.

Flags win over the environment, which wins over ``neuron.toml``.
"""

import argparse
import asyncio
import logging
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cortex import __version__
from cortex.cli.failure import told
from cortex.cli.table import table
from cortex.contract.error import ConfigError
from cortex.kit import log, place
from cortex.kit.credential import as_the_unit
from cortex.kit.handed_socket import take_handed
from cortex.kit.notify import notifier
from cortex.kit.place import is_closed
from cortex.kit.settings import drop_ins, find_config
from cortex.kit.startup import hold_hangup, keep_standard_open
from cortex.kit.tracer import check_trace
from cortex.neuron.entry_key import idle_keys
from cortex.neuron.settings import DROP_INS, NeuronSettings, load_neuron_settings

if TYPE_CHECKING:
    from cortex.neuron.offer import Offer

DOOR = "neuron"
"""What a socket is called that is handed over."""
SERVICE = "cortex-neuron.service"
SEARCHED = "$CORTEX_NEURON_CONFIG, ./neuron.toml, ~/.config/cortex/neuron.toml, /etc/cortex/neuron.toml"


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    keep_standard_open()
    hold_hangup()
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    if argv[:1] == ["doctor"]:
        from cortex.cli.neuron_doctor import doctor

        return doctor(argv[1:])
    args = _parser().parse_args(argv)
    with told("cortex-neuron"):
        path, settings = _load(args.config, args.port, os.environ)
        if args.command == "check":
            from cortex.neuron.app import own_tls  # as below
            from cortex.neuron.offer import find_offer

            env = as_the_unit(os.environ, SERVICE, path)
            path, settings = _load(args.config, args.port, env)
            check_trace(settings.trace, env)
            own_tls(settings)  # the certificate can be used
            offer = asyncio.run(find_offer(settings, env))
            _show(path, settings)
            show_offer(offer)
            return 0
        notes, handed = notifier(os.environ), take_handed(os.environ, (DOOR,))
        log.configure(settings.log_level, settings.log_format, env=os.environ)
        for remark in _remarks(settings):
            logging.getLogger("cortex.cli.neuron").warning("%s", remark)  # not __name__: run as __main__
        from cortex.neuron.app import serve  # after the configuration: a wrong one is told at once

        return serve(settings, reread=lambda: _load(path, args.port, os.environ)[1], handed=handed, notifier=notes)


def _load(config: Path | None, port: int | None, env: Mapping[str, str]) -> tuple[Path | None, NeuronSettings]:
    path = find_config(
        "neuron.toml", explicit=config, env=env, env_key="CORTEX_NEURON_CONFIG", cwd=place.cwd(), home=place.home()
    )
    settings = load_neuron_settings(path, env)
    if port is None:
        return path, settings
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port: expected 0 to 65535, got {port}")
    return path, msgspec.structs.replace(settings, port=port)


def _show(path: Path | None, settings: NeuronSettings) -> None:
    print(f"configuration: {path or f'defaults (no file at {SEARCHED})'}")
    for file in drop_ins(path, DROP_INS):
        print(f"and over it: {file}")
    print(
        f"API on {settings.host}:{settings.port}{'' if settings.tls_cert is None else f', TLS by {settings.tls_cert}'}"
    )
    harnesses = (
        f"{entry.name} ({entry.kind})" if entry.name != entry.kind else entry.name for entry in settings.harnesses
    )
    print(f"harnesses: {', '.join(harnesses) or 'none configured'}")
    for remark in _remarks(settings):
        print(f"note: {remark}")


def show_offer(offer: "Offer") -> None:
    """Print what would be offered, and what is wrong with the rest."""
    inventory, host = offer.inventory, offer.inventory.host
    print(f"\n{host.hostname}: {host.os}, kernel {host.kernel}")
    print(f"GPU driver {inventory.driver_version or 'not found'}, CUDA {inventory.cuda_version or 'not found'}")
    for trouble in inventory.troubles:
        print(f"trouble: {trouble}")
    header = ("DEVICE", "NAME", "KIND", "MIB", "FREE", "COMPUTE", "NUMA", "UUID", "TROUBLE")
    rows = [
        (
            d.index,
            d.name,
            d.kind,
            d.vram_total_mb,
            reading.vram_free_mb,
            d.compute_capability,
            d.numa,
            d.uuid,
            reading.trouble,
        )
        for d in inventory.devices
        for reading in offer.readings[d.index : d.index + 1]
    ]
    print(table(header, rows) if rows else "no device")
    entries = [
        (h.name, h.kind, "yes" if h.usable else "no", h.version, h.engine_cuda, h.why_not) for h in offer.harnesses
    ]
    if entries:
        print(f"\n{table(('HARNESS', 'KIND', 'USABLE', 'VERSION', 'CUDA', 'WHY NOT'), entries)}")


def _remarks(settings: NeuronSettings) -> Iterator[str]:
    """Yield what is allowed but hardly meant."""
    if not settings.harnesses:
        yield "no [[harnesses]]: this neuron can load nothing"
    for entry in settings.harnesses:
        for key in idle_keys(entry):
            yield f"harnesses: '{entry.name}': `{key}` means nothing to kind {entry.kind}"
    secrets = {f"harnesses: '{entry.name}': key_file": entry.key_file for entry in settings.harnesses}
    secrets["[trace] headers_file"] = settings.trace.headers_file
    for key, file in {"token_file": settings.token_file, **secrets}.items():
        if file is not None and _is_open_to_all(Path(file)):
            yield f"{key} {file} can be read by every user of this host: chmod o-r it"
    for entry in settings.harnesses if settings.tls_cert is not None else ():
        urls = [url for url in (entry.endpoint, *entry.endpoints) if url is not None]
        if not entry.relay and not (urls and all(url.startswith("https:") for url in urls)):
            yield f"harnesses: '{entry.name}': gateways speak to its engines without TLS, unless `relay = true`"
    for folder in settings.model_dirs:
        if is_closed(f"{folder}/."):
            yield f"model_dirs: this user may not look into {folder}"
        elif not os.path.isdir(folder):
            yield f"model_dirs: {folder} is no directory"


def _is_open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:  # told elsewhere
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cortex-neuron",
        description="Run the neuron of this GPU host; with `check`, say what it would offer; with `doctor`, say "
        "what is wrong and what to do about it (see `cortex-neuron doctor --help`).",
        allow_abbrev=False,
    )
    parser.add_argument("command", nargs="?", choices=["serve", "check"], default="serve")
    parser.add_argument("--port", type=int, help="where the API listens (default: 9090)")
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"default: the first of {SEARCHED}")
    parser.add_argument("--version", action="version", version=f"cortex-neuron {__version__}")
    return parser


if __name__ == "__main__":
    main()

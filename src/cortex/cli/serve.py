"""``cortex serve`` and ``cortex check``: the gateway's configuration from files, environment and flags.

Flags win over the environment, which wins over the file. ``check`` loads exactly what ``serve`` would, and stops there.
"""

import argparse
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from cortex.cli.failure import FAILED, told
from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile
from cortex.gateway.catalogue import catalogue_path, load_catalogue
from cortex.gateway.remark import remarks
from cortex.gateway.settings import DROP_INS, GatewaySettings, host_port, load_gateway_settings, tls_files_of
from cortex.gateway.store_opening import open_store
from cortex.gateway.store_url import parse_store_url
from cortex.gateway.tls_opening import GatewayTls
from cortex.kit import log, place
from cortex.kit.clock import SystemClock
from cortex.kit.credential import as_the_unit
from cortex.kit.fleet_token import fleet_token
from cortex.kit.handed_socket import LOG_FORMAT, take_handed
from cortex.kit.notify import notifier
from cortex.kit.settings import drop_ins, find_config
from cortex.kit.tracer import check_trace

DOORS = ("api", "metrics")
"""What sockets are called that are handed over."""
SERVICE = "cortex.service"
SEARCHED = "$CORTEX_CONFIG, ./cortex.toml, ~/.config/cortex/cortex.toml, /etc/cortex/cortex.toml"


class Loaded(msgspec.Struct, frozen=True):
    """What a gateway runs with; ``path`` is the config file, None for defaults only."""

    path: Path | None
    settings: GatewaySettings
    profiles: tuple[Profile, ...]


def serve(argv: Sequence[str]) -> int:
    """Run a gateway until it is told to stop; return the exit code."""
    args = _parser().parse_args(argv)
    with told("cortex serve"):
        if os.environ.pop(LOG_FORMAT, "") == "json":
            log.configure("info", "json", env=os.environ)
        loaded = _with_flags(_load(args.config), args.listen, args.metrics_listen)
        notes, handed = notifier(os.environ), take_handed(os.environ, DOORS)
        log.configure(loaded.settings.gateway.log_level, loaded.settings.gateway.log_format, env=os.environ)
        for remark in _remarks(loaded):
            logging.getLogger(__name__).warning("%s", remark)
        from cortex.gateway.lifetime import serve as run  # after the configuration: a wrong one is told at once

        watched = catalogue_path(loaded.settings.gateway.models, loaded.path)
        return run(
            loaded.settings,
            loaded.profiles,
            lambda: reload(loaded),
            watched,
            reread=lambda: _reread(loaded.path, args),
            handed=handed,
            notifier=notes,
        )


def check(config: Path | None, *, asks_neurons: bool = False) -> int:
    """Print what a gateway would run with, or what is wrong with it; return the exit code.

    ``asks_neurons``: how that fits the nodes that there are, too; a model that can run on none of them is wrong.
    """
    with told("cortex check"):
        loaded = look(config)
        open_store(loaded.settings.store, SystemClock(), "cortex check")  # connects to nothing
        check_trace(loaded.settings.trace, os.environ)
        GatewayTls(loaded.settings)  # the certificates can be used
        for entry in loaded.settings.neurons:  # and what neurons are shown
            fleet_token(entry.token_file, _units(loaded.path), where=f"neurons.{entry.name}.token_file:")
        return _tell(loaded, asks_neurons=asks_neurons)


def _tell(loaded: Loaded, *, asks_neurons: bool) -> int:
    print(f"configuration: {loaded.path or f'defaults (no file at {SEARCHED})'}")
    for file in drop_ins(loaded.path, DROP_INS):
        print(f"and over it: {file}")
    print(f"API on {loaded.settings.gateway.listen}, metrics on {loaded.settings.gateway.metrics_listen}")
    if loaded.settings.gateway.tls_cert is not None:
        print(f"TLS by {loaded.settings.gateway.tls_cert}")
    print(f"nodes: {', '.join(f'{entry.name} ({entry.endpoint})' for entry in loaded.settings.neurons) or 'none'}")
    print(f"models: {', '.join(profile.id for profile in loaded.profiles) or 'none in the catalogue'}")
    if loaded.settings.store.url is not None:
        print(f"store: {parse_store_url(loaded.settings.store.url).shown}")
    found, fits = _surveyed(loaded) if asks_neurons else (_remarks(loaded), True)
    for remark in found:
        print(f"note: {remark}")
    return 0 if fits else FAILED


def load(config: Path | None, env: Mapping[str, str], cwd: Path, home: Path) -> Loaded:
    """Find and load configuration and catalogue. Raises: ConfigError."""
    path = _found(config, env, cwd, home)
    settings = load_gateway_settings(path, env)
    return Loaded(path, settings, load_catalogue(settings.gateway.models, path))


def look(config: Path | None) -> Loaded:
    """Load what a gateway runs with, or would: with its unit's credentials, where they are its. Raises: ConfigError."""
    path = _found(config, os.environ, place.cwd(), place.home())
    return load(config, _units(path), place.cwd(), place.home())


def _units(path: Path | None) -> Mapping[str, str]:
    return as_the_unit(os.environ, SERVICE, path)


def _found(config: Path | None, env: Mapping[str, str], cwd: Path, home: Path) -> Path | None:
    return find_config("cortex.toml", explicit=config, env=env, env_key="CORTEX_CONFIG", cwd=cwd, home=home)


def reload(loaded: Loaded) -> tuple[Profile, ...]:
    """Load the catalogue again. One that is gone is a mistake, not the wish to have no models. Raises: ConfigError."""
    return load_catalogue(loaded.settings.gateway.models, loaded.path, must_exist=bool(loaded.profiles))


def _load(config: Path | None) -> Loaded:
    return load(config, os.environ, place.cwd(), place.home())


def _with_flags(loaded: Loaded, listen: str | None, metrics_listen: str | None) -> Loaded:
    flags = {"listen": listen, "metrics_listen": metrics_listen}
    given = {key: value for key, value in flags.items() if value is not None}
    for key, value in given.items():
        try:
            host_port(value)
        except ValueError as exc:
            raise ConfigError(f"--{key.replace('_', '-')}: {exc}") from None
    gateway = msgspec.structs.replace(loaded.settings.gateway, **given)
    return msgspec.structs.replace(loaded, settings=msgspec.structs.replace(loaded.settings, gateway=gateway))


def _reread(path: Path | None, args: argparse.Namespace) -> GatewaySettings:
    """Return the settings as they stand now, without the catalogue. Raises: ConfigError."""
    now = Loaded(path, load_gateway_settings(path, os.environ), ())
    return _with_flags(now, args.listen, args.metrics_listen).settings


def _remarks(loaded: Loaded) -> list[str]:
    return remarks(loaded.settings, loaded.profiles)


def _surveyed(loaded: Loaded) -> tuple[list[str], bool]:
    """Ask the neurons; return what is odd about the configuration in itself, and seen against the nodes.

    The second is whether every model can run somewhere, as far as the nodes were seen.
    """
    from cortex.cli.survey import Place, survey  # a gateway needs neither
    from cortex.fleet.lint import impossible, lint

    settings, profiles = loaded.settings, loaded.profiles
    nodes = survey(
        (Place(one.name, one.endpoint, one.token_file, tls_files_of(one)) for one in settings.neurons),
        _units(loaded.path),
    )
    silent = [f"{node.name} was not looked at: {node.why}" for node in nodes if node.discovery is None]
    said = [*remarks(settings, profiles, has_nodes=True), *silent, *lint(profiles, nodes, settings.eviction.strategy)]
    return said, not any(impossible(profiles, nodes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cortex serve", description="Run the gateway.", allow_abbrev=False)
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"default: the first of {SEARCHED}")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where the API listens (default: 0.0.0.0:8000)")
    parser.add_argument("--metrics-listen", metavar="HOST:PORT", help="where /metrics listens (default: 0.0.0.0:9100)")
    return parser

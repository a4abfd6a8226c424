"""Reads a llama-server command line into settings for the embedded engine.

A flag wins over its environment variable, which wins over llama-server's default. Errors end the process with code 1
and llama-server's own words (argparse alone would say 2). It reads and checks; ``server.py`` applies.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from cortex.neuron.embedded.flag import TOGGLES, VALUED, Flag, Member, Toggle, switch

Setting = dict[str, object]
"""Target attribute of ``xllamacpp.CommonParams`` (dotted) to value."""

AUTO_SLOTS = 4
"""Slots when ``--parallel`` is absent or negative; they then share one KV pool. Source: llama-server, build 11549."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"error: invalid argument: {message}\n")


def parse(argv: Sequence[str], env: Mapping[str, str]) -> Setting:
    """Return the settings of one command line; exits with code 1 and a sentence on standard error when it is wrong."""
    parser = _parser()
    setting = _defaults()
    for row in (*VALUED, *TOGGLES):
        if row.env and (text := env.get(row.env)):
            setting[row.target] = _from_env(parser, row, text)
    known, unknown = parser.parse_known_args(list(argv))
    if unknown:
        parser.error(unknown[0])
    setting.update(vars(known))
    return _settle(parser, setting)


def _defaults() -> Setting:
    return {"port": 8080, "n_parallel": -1, "hostnames": ["127.0.0.1"], "offline": True}


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="llama-server",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        description="llama.cpp's server, out of the wheel xllamacpp; the flags are llama-server's own.",
    )
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version and exit")
    parser.add_argument("--list-devices", action=_PrintDevices, nargs=0, help="print the GPUs it can use and exit")
    for flag in VALUED:
        parser.add_argument(*flag.names, dest=flag.target, type=_named(flag.read), metavar="VALUE")
    for toggle in TOGGLES:
        parser.add_argument(*toggle.on, dest=toggle.target, action="store_true")
        if toggle.off:
            parser.add_argument(*toggle.off, dest=toggle.target, action="store_false")
    return parser


def _named(read: Callable[[str], object]) -> Callable[[str], object]:
    def value(text: str) -> object:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a valid value") from None

    return value


class _PrintVersion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version  # 20 ms, not to be paid at every start

        try:
            wheel = version("xllamacpp")
        except PackageNotFoundError:
            wheel = "is not installed"
        parser.exit(0, f"version: embedded (xllamacpp {wheel})\n")


class _PrintDevices(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        import xllamacpp

        print("Available devices:")
        for device in xllamacpp.get_device_info():
            if "GPU" in str(device["type"]):
                total, free = (device[key] >> 20 for key in ("memory_total", "memory_free"))
                print(f"  {device['name']}: {device['description']} ({total} MiB, {free} MiB free)")
        parser.exit(0)


def _from_env(parser: argparse.ArgumentParser, row: Flag | Toggle, text: str) -> object:
    read = row.read if isinstance(row, Flag) else switch
    try:
        return read(text)
    except ValueError:
        parser.error(f"{row.env}={text}")


def _settle(parser: argparse.ArgumentParser, setting: Setting) -> Setting:
    if not setting.get("model.path"):
        # llama-server would start as a router of child processes here; the wheel has that compiled out.
        parser.error("--model is missing (the embedded engine serves one model and is no router)")
    if setting.pop("reranking", False):
        setting.update({"embedding": True, "pooling_type": Member("llama_pooling_type", "LLAMA_POOLING_TYPE_RANK")})
    slots = setting["n_parallel"]
    if isinstance(slots, int) and slots < 0:
        setting["n_parallel"] = AUTO_SLOTS
        setting.setdefault("kv_unified", True)
    if "timeout_read" in setting:
        setting["timeout_write"] = setting["timeout_read"]
    if "cpuparams.n_threads" in setting:
        setting.setdefault("cpuparams_batch.n_threads", setting["cpuparams.n_threads"])
    return setting

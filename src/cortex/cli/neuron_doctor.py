"""``cortex-neuron doctor``: its options; its work is in ``doctor/``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cortex.cli.doctor.command import Wish
from cortex.cli.doctor.node.command import DEADLINE_S
from cortex.cli.doctor.node.command import doctor as examine
from cortex.cli.failure import told


def doctor(argv: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    args = _parser().parse_args(argv)
    wish = Wish(tuple(args.only), tuple(args.skip), as_json=args.json, deadline_s=args.deadline)
    with told("cortex-neuron doctor"):
        return examine(args.config, wish)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cortex-neuron doctor",
        description="Look for what is wrong with this node, and say what to do: exit code 0, 1 (odd) or 2 (broken).",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of the configuration file found")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="this check, or subject")
    parser.add_argument("--skip", action="append", default=[], metavar="ID", help="not this one")
    parser.add_argument("--deadline", type=float, default=DEADLINE_S, metavar="SECONDS", help="for each check")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser

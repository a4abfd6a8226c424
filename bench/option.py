"""The command line of ``bench/run``."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from bench.build import BENCH


@dataclass(frozen=True)
class Options:
    """What shall be measured; empty lists mean everything."""

    is_quick: bool
    only: tuple[str, ...]
    cases: tuple[str, ...]
    rounds: int | None
    output: Path | None
    is_self_test: bool
    is_urgent: bool

    @property
    def is_partial(self) -> bool:
        return bool(self.only or self.cases or self.rounds)

    @property
    def is_whole(self) -> bool:
        return not (self.is_quick or self.is_partial)

    def wants(self, gateway: str) -> bool:
        """Say whether a gateway was asked for by its name or the beginning of it."""
        return not self.only or any(gateway.lower().startswith(name) for name in self.only)


def options(gateways: list[str], cases: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measure cortex beside its peers.", allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="one short round of everything, 3-4 minutes")
    parser.add_argument("--only", type=_names, default=(), metavar="A,B", help=f"of {', '.join(gateways)}")
    parser.add_argument("--cases", type=_names, default=(), metavar="A,B", help=f"of {', '.join(cases)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="measure everything so often")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results here as well as on the screen")
    parser.add_argument(
        "--self-test", action="store_true", help="check upstream and client against each other, no more"
    )
    parser.add_argument("--urgent", action="store_true", help="take the cores from everybody else (needs root)")
    args = parser.parse_args()
    unknown = [name for name in args.cases if name not in cases]
    strange = [name for name in args.only if not any(gateway.lower().startswith(name) for gateway in gateways)]
    if unknown or strange:
        parser.error(f"there is no {', '.join(unknown + strange)}")
    found = Options(args.quick, args.only, args.cases, args.rounds, args.output, args.self_test, args.urgent)
    return replace(found, output=BENCH / "RESULTS.md") if found.output is None and found.is_whole else found


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())

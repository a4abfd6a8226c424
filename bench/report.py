"""Writes a run down: machine, method, tables, goals, and every gap with its reason. One text for screen and file."""

import datetime
from collections.abc import Sequence

from bench.campaign import Outcome
from bench.case.interface import Case
from bench.goal import GOALS
from bench.option import Options
from bench.peer.interface import Peer
from bench.place import Cores, machine
from bench.table import NOTHING, TABLES, markdown, number

METHOD = """\
Every gateway stands in front of the same upstream (`bench/native/upstream.c`) and is asked by the same load client
(`bench/native/client.c`), all in one run, in turn within each round. A gateway has one core. CPU time is that of its
processes with all their threads, over the measured window. "Added" is a quantile via the gateway minus the same
quantile of requests that went straight to the upstream in between. Open loop: Poisson arrivals, a clock that starts
when a request was due. Chunks are about 200 bytes, content deltas in the form of llama.cpp's. No TLS, loopback only."""


def written(
    outcome: Outcome,
    peers: Sequence[Peer],
    cases: Sequence[Case],
    cores: Cores,
    options: Options,
    took_s: float,
    strangers: float,
) -> str:
    """Return the whole text."""
    names = [peer.name for peer in peers]
    lines = ["# Benchmark results", "", *_circumstances(cores, options, took_s, strangers)]
    for table in TABLES:
        if table.has_figures(outcome.book, names):
            lines += table.lines(outcome.book, names)
    lines += _goals(outcome, [name for name in names if name.startswith("cortex")])
    lines += _gaps(outcome, names)
    lines += ["", "### Method", "", METHOD, "", *(f"* `{case.name}`: {case.about}." for case in cases)]
    lines += ["", "### Set-up", "", *(_setup(outcome, peer) for peer in peers)]
    return "\n".join(lines) + "\n"


def _circumstances(cores: Cores, options: Options, took_s: float, strangers: float) -> list[str]:
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    kind = "whole run" if options.is_whole else "partial run" if not options.is_quick else "quick run"
    about = {"date": f"{date}, a {kind} of {took_s / 60:.0f} min", **machine(), "cores": cores.told()}
    about["other processes"] = f"took {strangers:.0%} of all cores meanwhile"
    return [f"* {name}: {text}" for name, text in about.items()]


def _goals(outcome: Outcome, names: Sequence[str]) -> list[str]:
    measured = [name for name in names if name not in outcome.book.missing]
    if not measured:
        return []
    rows = [["goal", "reach", "limit", *measured]]
    for goal in GOALS:
        bound = "at least" if goal.is_floor else "at most"
        limit = "" if goal.limit is None else number(goal.limit)
        cells = []
        for name in measured:
            value = goal.figure(outcome.book, name)
            cells.append(NOTHING if value is None else f"{number(value)}: {goal.verdict(value)}")
        rows.append([goal.text, f"{bound} {number(goal.reach)} {goal.unit}", limit, *cells])
    return ["", "### Goals, everything on", "", *markdown(rows)]


def _gaps(outcome: Outcome, names: Sequence[str]) -> list[str]:
    gaps = [
        f"* {name} was not measured: {outcome.book.missing[name]}" for name in names if name in outcome.book.missing
    ]
    gaps += [f"* {name}: {text}." for name in names for text in outcome.book.remarks[name]]
    return ["", "### Gaps and remarks", "", *(gaps or ["None."])]


def _setup(outcome: Outcome, peer: Peer) -> str:
    return f"* {peer.name} {outcome.versions.get(peer.name, '(version unknown)')}: {peer.about}."

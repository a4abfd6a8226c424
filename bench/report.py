"""Writes a run down: machine, method, tables, goals, and every gap with its reason. One text for screen and file."""

import datetime
from collections.abc import Sequence
from typing import NamedTuple

from bench import decision, schedule, watch
from bench.campaign import Campaign
from bench.case.interface import Case
from bench.goal import GOALS
from bench.option import Options
from bench.peer.interface import Peer
from bench.place import Cores, machine
from bench.table import NOTHING, TABLES, markdown, number

MUCH_NOISE = 0.1
"""Share of all cores taken by others above which a run proves nothing."""

METHOD = """\
Every gateway stands in front of the same upstream (`bench/native/upstream.c`) and is asked by the same load client
(`bench/native/client.c`), all in one run, in turn within each round. A gateway has one core. CPU time is that of its
processes with all their threads, over the measured window. "Added" is a quantile via the gateway minus the same
quantile of requests that went straight to the upstream in between. Open loop: Poisson arrivals, a clock that starts
when a request was due. Chunks are about 200 bytes, content deltas in the form of llama.cpp's. No TLS, loopback only."""


class Took(NamedTuple):
    """How long it took, and how much of all cores' time others had meanwhile."""

    minutes: float
    strangers: float


def written(
    campaign: Campaign, peers: Sequence[Peer], cases: Sequence[Case], cores: Cores, options: Options, took: Took
) -> str:
    """Return the whole text."""
    names = [peer.name for peer in peers]
    lines = ["# Benchmark results", "", *_circumstances(cores, options, took)]
    for table in TABLES:
        if table.has_figures(campaign.book, names):
            lines += table.lines(campaign.book, names)
    lines += _goals(campaign, [name for name in names if name.startswith("cortex")])
    if options.is_whole:
        lines += ["", *decision.lines(), "", *watch.lines(), "", *schedule.lines()]
    lines += _gaps(campaign, names)
    lines += ["", "### Method", "", METHOD, "", *(f"* `{case.name}`: {case.about}." for case in cases)]
    lines += ["", "### Set-up", "", *(_setup(campaign, peer) for peer in peers)]
    return "\n".join(lines) + "\n"


def _circumstances(cores: Cores, options: Options, took: Took) -> list[str]:
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    kind = "whole" if options.is_whole else "partial" if options.is_partial else "quick"
    urgent = ", at the highest priority" if options.is_urgent else ""
    noise = "" if took.strangers < MUCH_NOISE else ": **too much; latencies mean nothing, costs little**"
    about = {
        "date": f"{date}, a {kind} run of {took.minutes:.0f} min{urgent}",
        **machine(),
        "cores": cores.told(),
        "other processes": f"took {took.strangers:.0%} of all cores meanwhile{noise}",
    }
    return [f"* {name}: {text}" for name, text in about.items()]


def _goals(campaign: Campaign, names: Sequence[str]) -> list[str]:
    measured = [name for name in names if name not in campaign.book.missing]
    if not measured:
        return []
    rows = [["goal", "reach", "limit", *measured]]
    for goal in GOALS:
        bound = "at least" if goal.is_floor else "at most"
        limit = "" if goal.limit is None else number(goal.limit)
        cells = []
        for name in measured:
            value = goal.figure(campaign.book, name)
            cells.append(NOTHING if value is None else f"{number(value)}: {goal.verdict(value)}")
        rows.append([goal.text, f"{bound} {number(goal.reach)} {goal.unit}", limit, *cells])
    return ["", "### Goals, everything on", "", *markdown(rows)]


def _gaps(campaign: Campaign, names: Sequence[str]) -> list[str]:
    gaps = [
        f"* {name} was not measured: {campaign.book.missing[name]}" for name in names if name in campaign.book.missing
    ]
    gaps += [f"* {name}: {text}." for name in names for text in campaign.book.remarks[name]]
    return ["", "### Gaps and remarks", "", *(gaps or ["None."])]


def _setup(campaign: Campaign, peer: Peer) -> str:
    return f"* {peer.name} {campaign.versions.get(peer.name, '(version unknown)')}: {peer.about}."

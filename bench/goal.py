"""The goals for cortex with everything on, and the limits above which a figure is no release.

Ratios are to nginx in the same run on the same core.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench.book import Book

LIMIT = "nginx"
RIVAL = "sglang-router"


@dataclass(frozen=True)
class Goal:
    """One line of the table of goals: reached when the figure is at most (or at least) ``reach``."""

    text: str
    figure: Callable[[Book, str], float | None]
    reach: float
    unit: str
    limit: float | None = None
    """Above it the figure is not acceptable at all."""
    is_floor: bool = False

    def verdict(self, value: float | None) -> str:
        if value is None:
            return "not measured"
        if self.is_floor:
            return "reached" if value >= self.reach else "missed"
        if value <= self.reach:
            return "reached"
        return "missed" if self.limit is None or value <= self.limit else "**over the limit**"


def ratio(measure: str, other: str = LIMIT) -> Callable[[Book, str], float | None]:
    def figure(book: Book, gateway: str) -> float | None:
        own, theirs = book.median(gateway, measure), book.median(other, measure)
        return own / theirs if own is not None and theirs else None

    return figure


def median(measure: str, factor: float = 1.0) -> Callable[[Book, str], float | None]:
    def figure(book: Book, gateway: str) -> float | None:
        value = book.median(gateway, measure)
        return None if value is None else value * factor

    return figure


def per_core(measure: str) -> Callable[[Book, str], float | None]:
    def figure(book: Book, gateway: str) -> float | None:
        cost_us = book.median(gateway, measure)
        return 1e6 / cost_us if cost_us else None

    return figure


def last(measure: str) -> Callable[[Book, str], float | None]:
    def figure(book: Book, gateway: str) -> float | None:
        values = book.values(gateway, measure)
        return values[-1] if values else None

    return figure


def growth(first: str, last: str) -> Callable[[Book, str], float | None]:
    def figure(book: Book, gateway: str) -> float | None:
        begin, end = book.values(gateway, first), book.values(gateway, last)
        return end[-1] - begin[0] if len(begin) > 1 and end else None

    return figure


GOALS = (
    Goal("CPU per request", ratio("request_1_us"), 3.5, "x nginx", limit=4.5),
    Goal("CPU per streamed chunk", ratio("chunk_us"), 1.6, "x nginx", limit=2.0),
    Goal("CPU per streamed chunk, translated for Anthropic's clients", ratio("anthropic_chunk_us"), 2.5, "x nginx"),
    Goal("CPU per request", ratio("request_1_us", RIVAL), 1.0, f"x {RIVAL}"),
    Goal("CPU per streamed chunk", ratio("chunk_us", RIVAL), 1.0, f"x {RIVAL}"),
    Goal("memory per open stream, 2,000 open", median("stream_kib"), 60, "KiB"),
    Goal("added time to first token p99, half load", median("load50_first_p99_us", 1e-3), 2.0, "ms"),
    Goal("added inter-token gap p99, half load", median("load50_gap_p99_us", 1e-3), 1.0, "ms"),
    Goal("an agent's 100 KB to the engine, translated, median", median("agent_reach_p50_us", 1e-3), 1.5, "ms"),
    Goal("prompts of 220 KB per second and core", per_core("request_220_us"), 2000, "/s", is_floor=True),
    Goal("from exec to ready", median("ready_s"), 1.0, "s"),
    Goal("resident memory after the run", last("rss_end_mib"), 120, "MiB"),
    Goal("growth of resident memory, first to last round of requests", growth("rss_mib", "rss_mib"), 5, "MiB"),
)

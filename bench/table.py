"""The tables of figures: which measure stands in which column, and how a number is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.book import Book
from bench.goal import LIMIT

Cell = Callable[[Book, str], str]

NOTHING = "-"


@dataclass(frozen=True)
class Table:
    """Columns of figures, a row per gateway."""

    title: str
    columns: tuple[tuple[str, Cell], ...]

    def lines(self, book: Book, gateways: Sequence[str]) -> list[str]:
        rows = [["gateway", *(head for head, _ in self.columns)]]
        rows += [[name, *self._cells(book, name)] for name in gateways]
        return ["", f"### {self.title}", "", *markdown(rows)]

    def _cells(self, book: Book, name: str) -> list[str]:
        if name in book.missing:
            return ["not measured: see below", *("" for _ in self.columns[1:])]
        return [cell(book, name) for _, cell in self.columns]

    def has_figures(self, book: Book, gateways: Sequence[str]) -> bool:
        cells = [cell(book, name) for name in gateways for _, cell in self.columns]
        return any(text != NOTHING for text in cells)


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table, padded so that it reads well on a screen too; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [padded[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *padded[1:]]


def number(value: float) -> str:
    """Write a figure with about three digits."""
    if abs(value) >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 9.95 else f"{value:.2f}"


def plain(measure: str, factor: float = 1.0) -> Cell:
    def cell(book: Book, name: str) -> str:
        value = book.median(name, measure)
        return NOTHING if value is None else number(value * factor)

    return cell


def spread(measure: str, factor: float = 1.0) -> Cell:
    """The median, and in brackets the lowest and the highest round."""

    def cell(book: Book, name: str) -> str:
        text, ends = plain(measure, factor)(book, name), book.spread(name, measure)
        return f"{text} ({number(ends[0] * factor)}-{number(ends[1] * factor)})" if ends else text

    return cell


def last(measure: str) -> Cell:
    def cell(book: Book, name: str) -> str:
        values = book.values(name, measure)
        return number(values[-1]) if values else NOTHING

    return cell


def times_limit(measure: str) -> Cell:
    def cell(book: Book, name: str) -> str:
        own, limit = book.median(name, measure), book.median(LIMIT, measure)
        return f"{own / limit:.2f}" if own is not None and limit else NOTHING

    return cell


def each_second(measure: str) -> Cell:
    def cell(book: Book, name: str) -> str:
        cost_us = book.median(name, measure)
        return number(1e6 / cost_us) if cost_us else NOTHING

    return cell


def pair(first: str, second: str, factor: float = 1e-3) -> Cell:
    def cell(book: Book, name: str) -> str:
        texts = [plain(measure, factor)(book, name) for measure in (first, second)]
        return NOTHING if texts == [NOTHING, NOTHING] else " / ".join(texts)

    return cell


def of_streams(measure: str) -> Cell:
    def cell(book: Book, name: str) -> str:
        count, streams = book.median(name, measure), book.median(name, "killed_streams")
        return NOTHING if count is None or streams is None else f"{count:.0f} of {streams:.0f}"

    return cell


def failures(book: Book, name: str) -> str:
    if name not in book.failures:
        return NOTHING
    return ", ".join(f"{count:,} {kind}" for kind, count in book.failures[name].most_common()) or "none"


COST = Table(
    "Cost: median of the rounds (lowest-highest)",
    (
        ("us CPU per request, 1 KB", spread("request_1_us")),
        ("x nginx", times_limit("request_1_us")),
        ("requests/s seen", plain("request_1_per_s")),
        ("core busy %", plain("request_1_busy", 100)),
        ("10 KB", spread("request_10_us")),
        ("220 KB", spread("request_220_us")),
        ("x nginx", times_limit("request_220_us")),
        ("220 KB prompts/s per core", each_second("request_220_us")),
        ("us CPU per chunk", spread("chunk_us")),
        ("x nginx", times_limit("chunk_us")),
        ("core busy %", plain("chunk_busy", 100)),
    ),
)

TRANSLATION = Table(
    "Other dialects than the engine's",
    (
        ("Anthropic messages: us CPU per chunk", spread("anthropic_chunk_us")),
        ("x nginx", times_limit("anthropic_chunk_us")),
        ("OpenAI Responses", spread("responses_chunk_us")),
        ("x nginx", times_limit("responses_chunk_us")),
        ("Ollama chat", spread("ollama_chunk_us")),
        ("x nginx", times_limit("ollama_chunk_us")),
        ("an agent's 100 KB: us CPU", spread("agent_us")),
        ("x nginx", times_limit("agent_us")),
        ("last byte to the engine, p50 / p99 ms", pair("agent_reach_p50_us", "agent_reach_p99_us")),
        ("direct has", pair("agent_direct_p50_us", "agent_direct_p99_us")),
    ),
)

FOOTPRINT = Table(
    "Memory and start",
    (
        ("KiB per open stream", plain("stream_kib")),
        ("x nginx", times_limit("stream_kib")),
        ("RSS MiB at start", plain("rss_start_mib")),
        ("after 2,000 streams", plain("rss_after_mib")),
        ("after each round of requests", spread("rss_mib")),
        ("at the end", last("rss_end_mib")),
        ("exec to ready s", spread("ready_s")),
        ("failures", failures),
    ),
)


def _latency(percent: int) -> Table:
    at = f"load{percent}_"
    return Table(
        f"Added latency at {percent} % load, p50 / p99 in ms",
        (
            ("requests/s", plain(f"{at}unary_per_s")),
            ("unstreamed", pair(f"{at}unary_p50_us", f"{at}unary_p99_us")),
            ("direct has", pair(f"{at}unary_direct_p50_us", f"{at}unary_direct_p99_us")),
            ("chunks/s", plain(f"{at}chunks_per_s")),
            ("time to first token", pair(f"{at}first_p50_us", f"{at}first_p99_us")),
            ("direct has", pair(f"{at}first_direct_p50_us", f"{at}first_direct_p99_us")),
            ("inter-token gap", pair(f"{at}gap_p50_us", f"{at}gap_p99_us")),
            ("direct has", pair(f"{at}gap_direct_p50_us", f"{at}gap_direct_p99_us")),
        ),
    )


FAULTS = Table(
    "Slow readers and a killed upstream",
    (
        ("KiB per slow reader", plain("slow_kib")),
        ("added gap p99 beside them ms", plain("slow_gap_p99_us", 1e-3)),
        ("streams told in-band", of_streams("killed_told")),
        ("cut without a word", of_streams("killed_cut")),
        ("ended like a good one", of_streams("killed_silent")),
        ("hanging after 4 s", of_streams("killed_hanging")),
        ("last one ended after ms", plain("killed_end_p99_ms")),
        ("new request meanwhile", plain("killed_status")),
        ("well again after ms", plain("killed_back_ms")),
    ),
)

TABLES = (COST, TRANSLATION, FOOTPRINT, _latency(50), _latency(80), FAULTS)

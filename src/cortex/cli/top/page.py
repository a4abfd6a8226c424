"""A whole screen: what is summed up above, parts in the room that there is, keys below. Pure: a board and a glance in,
exactly so many lines out, none wider than the screen."""

from collections.abc import Sequence

import msgspec

from cortex.cli.top.board import Board, state_of, tokens_per_s
from cortex.cli.top.detail import detail_lines
from cortex.cli.top.glance import VIEWS, Glance, Key
from cortex.cli.top.grid import BAR, BAR_STYLES, grid
from cortex.cli.top.line import Line, Span, cut, plain, width_of
from cortex.cli.top.part import (
    Part,
    clock_of,
    decisions_part,
    gib,
    gpus,
    models_part,
    nodes_part,
    requests_part,
    span_of,
)

LEAST_ROWS = 2
"""Of a part of the overview, besides its titles, as far as the screen allows."""
KEYS = "q quit  ? help  1-5 tab view  ↑↓ choose  enter details  / filter  s sort  p pause  l u d do"
HELP = (
    "1 … 5, tab, ← →   overview, nodes, models, requests, decisions",
    "↑ ↓ page up down  choose a row;  enter: all that is known of it;  escape: back",
    "/                 filter by any word;  escape: no filter",
    "s                 sort: as it comes, by name, what is busy, what has most memory (or tokens)",
    "p                 pause: the screen stands still, the fleet does not",
    "l                 load the chosen model, or one that you name",
    "u                 unload the chosen model;  d: drain the chosen node, or take it back",
    "q, ctrl-c         quit",
    "",
    "REQ: requests of this gateway in flight.  WAIT: without a place yet.  TOK/S: of the last minute.",
    "TTFT: from a request's arrival to its first token.",
    "Before something is done it is asked about.  Any key goes on.",
)


class Screen(msgspec.Struct, frozen=True):
    """What to paint, and which rows the arrows can come to."""

    lines: tuple[Line, ...]
    keys: tuple[Key, ...]


def screen(board: Board, glance: Glance, width: int, height: int) -> Screen:
    """Return the screen for a terminal of so many cells."""
    top, bottom = _top(board, glance), _bottom(glance)
    room = max(0, height - len(top) - 1)
    keys: list[Key] = []
    body: list[Line] = []
    if glance.has_help:
        body += [(Span(line),) for line in HELP[:room]]
    elif glance.detail is not None:
        body = detail_lines(board, glance.detail, glance.scroll, width, room)
    elif not board.is_known:
        body = [(), (Span("  asking the gateway …" if not board.trouble else "  nothing is known yet"),)][:room]
    else:
        parts = _parts(board, glance)
        keys = [row.key for part in parts for row in part.rows if row.key is not None]
        for part, rows in zip(parts, _shares([_wish(part) for part in parts], room), strict=True):
            body += _drawn(part, glance, width, rows)
    lines = [*top, *body, *[()] * (room - len(body)), bottom][:height]
    return Screen(tuple(cut(line, width) for line in lines), tuple(keys))


def text(board: Board, width: int) -> str:
    """Return everything that there is as text without styles, for a script or a terminal that cannot do more."""
    glance = Glance()
    wanted = sum(_wish(part) for part in _parts(board, glance))
    drawn = screen(board, glance, width, wanted + len(_top(board, glance)) + 1)
    return "\n".join([plain(drawn.lines[0]), "", *(plain(line) for line in drawn.lines[2:-1])]).rstrip()


def _parts(board: Board, glance: Glance) -> list[Part]:
    every = {"nodes": nodes_part, "models": models_part, "requests": requests_part, "decisions": decisions_part}
    if glance.view in every:
        return [every[glance.view](board, glance)]
    return [make(board, glance) for make in every.values()]


def _top(board: Board, glance: Glance) -> list[Line]:
    lines = [_summary(board)]
    if board.trouble:
        since = f", since {clock_of(board.trouble_epoch_s)} ({span_of(board.now_epoch_s - board.trouble_epoch_s)})"
        lines.append((Span(f"gateway does not answer{since}: {board.trouble}", "red"),))
    lines.append(_tabs(glance))
    return lines


def _summary(board: Board) -> Line:
    state = state_of(board) if board.is_known else "-"
    style = {"ok": "green", "degraded": "yellow", "down": "red"}.get(state, "")
    healthy = sum(node.healthy for node in board.nodes)
    waiting = sum(one.state in ("waiting", "loading") for one in board.running)
    devices = [device for node in board.nodes for device in gpus(node)]
    used = sum(device.vram_used_mb or 0 for device in devices)
    total = sum(device.vram_total_mb for device in devices)
    speed = sum(tokens_per_s(board).values())
    words = f", {healthy}/{len(board.nodes)} nodes · {board.running_count} requests, {waiting} waiting · "
    words += f"{speed:.1f} tok/s · {gib(used)}/{gib(total)} GiB"
    return (
        Span("cortex ", "bold"),
        Span(state, style),
        Span(words),
        Span(f" · {clock_of(board.now_epoch_s)}", "dim"),
        Span(f" · {board.url}", "dim"),
    )


def _tabs(glance: Glance) -> Line:
    spans: list[Span] = []
    for number, view in enumerate(VIEWS, 1):
        spans += (Span(f" {number} {view} ", "reverse" if view == glance.view else ""), Span(" "))
    if glance.is_paused:
        spans.append(Span(" paused ", "reverse"))
    if glance.filter and glance.typing != "filter":
        spans.append(Span(f" filter: {glance.filter}", "cyan"))
    if glance.sort != "default":
        spans.append(Span(f" sort: {glance.sort}", "cyan"))
    return tuple(spans)


def _bottom(glance: Glance) -> Line:
    if glance.asked is not None:
        return (Span(f"{glance.asked.words()} y: yes, any other key: no", "reverse"),)
    if glance.typing:
        word = "filter: " if glance.typing == "filter" else "load which model: "
        return (Span(word, "bold"), Span(glance.typed), Span(" ", "reverse"), Span("  enter, escape", "dim"))
    if glance.said:
        return (Span(glance.said, "bold"),)
    return (Span(KEYS, "dim"),)


def _wish(part: Part) -> int:
    """Return how many lines a part would take: titles, rows, and one between it and the next."""
    return 2 + max(1, len(part.rows))


def _shares(wishes: Sequence[int], room: int) -> list[int]:
    """Share lines out: everyone gets the least first, then the earlier ones what they wish, a line at a time each."""
    shares = [min(wish, LEAST_ROWS + 2) for wish in wishes]
    while sum(shares) > room:
        index = max(range(len(shares)), key=lambda i: (shares[i], i))
        if shares[index] == 0:
            break
        shares[index] -= 1
    while sum(shares) < room and (hungry := [i for i, wish in enumerate(wishes) if shares[i] < wish]):
        for index in hungry[: room - sum(shares)]:
            shares[index] += 1
    return shares


def _drawn(part: Part, glance: Glance, width: int, share: int) -> list[Line]:
    """Return a part in at most so many lines, its chosen row among them."""
    if share < 2:
        return [()] * share
    room, count = share - (2 if share > 2 else 1), len(part.rows)
    chosen = next((i for i, row in enumerate(part.rows) if row.key is not None and row.key == glance.chosen), None)
    first = 0 if chosen is None else max(0, min(chosen - room // 2, count - room))
    title, rows = grid(part.columns, [row.cells() for row in part.rows[first : first + room]], width)
    if chosen is not None:
        rows[chosen - first] = (Span(_padded(plain(rows[chosen - first]), width), "reverse"),)
    if not rows:
        rows = [(Span(f"  {'nothing fits the filter' if glance.filter else part.empty}", "dim"),)]
    if (hidden := count - first - room) > 0 and room > 1 and chosen != first + room - 1:
        rows[-1] = (Span(f"  … {hidden + 1} more", "dim"),)
    lines = [_headed(part, title, width), *rows]
    return lines + [()] * (share - len(lines))


def _headed(part: Part, title: Line, width: int) -> Line:
    """Return the titles, at the end of the line what the part is, and for memory what the bar's signs mean."""
    words: list[Span] = []
    if part.title.startswith("NODES"):
        for sign, style, word in zip(BAR, BAR_STYLES, ("models", "others", "reserved", "free"), strict=True):
            words += (Span(sign, style), Span(f" {word} ", "dim"))
    words.append(Span(part.title, "cyan"))
    kept = plain(title)
    left = width - width_of(kept) - sum(width_of(span.text) for span in words)
    if left < 2:
        words = [Span(part.title, "cyan")]
        left = width - width_of(kept) - width_of(part.title)
    return title if left < 2 else (Span(kept, "bold"), Span(" " * left), *words)


def _padded(words: str, width: int) -> str:
    return words + " " * max(0, width - width_of(words))

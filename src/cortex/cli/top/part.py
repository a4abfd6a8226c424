"""The parts of the screen: nodes with their devices, models where they are, requests, decisions. Pure.

A part is its columns and its rows, filtered and sorted; ``page`` finds them room.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from cortex.cli.table import COLOURS
from cortex.cli.top.board import Board, tokens_per_s, waiting_by_model
from cortex.cli.top.glance import Glance, Key
from cortex.cli.top.grid import Bar, Cell, Column
from cortex.cli.top.line import Span
from cortex.contract.activity import FinishedRequest, RunningRequest
from cortex.contract.admin import DecisionEntry, DeviceEntry, InstanceEntry, NodeEntry

MIB_IN_GIB = 1024


class Row(msgspec.Struct, frozen=True):
    """``key`` None: it goes with the row above. ``cells`` is asked of rows that are seen: there may be hundreds."""

    key: Key | None
    cells: Callable[[], tuple[Cell, ...]]


class Part(msgspec.Struct, frozen=True):
    """One table. ``empty``: what to say when it has no rows."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    empty: str


def nodes_part(board: Board, glance: Glance) -> Part:
    """Return the nodes, a row for each device; in the overview for GPUs only, where there are any."""
    columns = (
        Column("NODE", least=8),
        Column("STATE"),
        Column("REQ", rank=3, right=True),
        Column("DEVICE", rank=4, least=7),
        Column("MEMORY", least=8, grows=True),
        Column("USED/GIB", right=True),
        Column("BUSY", rank=2, right=True),
        Column("TEMP", rank=5, right=True),
    )
    sorts: dict[str, Callable[[NodeEntry], Any]] = {
        "name": lambda node: node.name,
        "busy": lambda node: (-node.in_flight, node.name),
        "memory": lambda node: (-sum(device.vram_used_mb or 0 for device in gpus(node)), node.name),
    }
    rows = []
    for node in _sorted(board.nodes, sorts, glance):
        if _fits(
            glance, node.name, node.hostname or "", node_state(node), *node.loaded, *(d.name for d in node.devices)
        ):
            rows += _node_rows(node, node.devices if glance.view == "nodes" else gpus(node))
    return Part(f"NODES {len(board.nodes)}", columns, tuple(rows), "no node is configured")


def _node_rows(node: NodeEntry, devices: Sequence[DeviceEntry]) -> list[Row]:
    state = node_state(node)
    head = (Span(node.name), Span(state, COLOURS.get(state, "")), Span(str(node.in_flight)))
    nothing = (Span(""), Span(""), Span(""))
    if not node.healthy or not devices:
        why = node.why or "; ".join(node.troubles)
        cells = (*head, Span(""), Span(why, "red" if not node.healthy else ""), *nothing)
        return [Row(Key("node", node.name), lambda: cells)]
    first, *others = devices
    rows = [Row(Key("node", node.name), partial(_device_row, head, first))]
    return rows + [Row(None, partial(_device_row, nothing, device)) for device in others]


def _device_row(head: tuple[Cell, ...], device: DeviceEntry) -> tuple[Cell, ...]:
    return (*head, *_device_cells(device))


def _device_cells(device: DeviceEntry) -> tuple[Cell, ...]:
    name = Span(f"{device.index} {device.name}")
    busy, temp = device.utilization_pct, device.temp_c
    rest = (Span("-" if busy is None else f"{busy:.0f}%"), Span("-" if temp is None else f"{temp:.0f}°"))
    if device.vram_used_mb is None:
        return (name, Span(device.trouble or "not told", "dim"), Span(f"-/{gib(device.vram_total_mb)}"), *rest)
    used = f"{gib(device.vram_used_mb)}/{gib(device.vram_total_mb)}"
    return (name, bar_of(device), Span(used), *rest)


def bar_of(device: DeviceEntry) -> Bar:
    """Return the bar of a device's memory. Reserved is what loads under way were promised and do not use yet."""
    used, strangers = device.vram_used_mb or 0, device.strangers_mb or 0
    return Bar((max(0, used - strangers), min(used, strangers), device.reserved_mb), device.vram_total_mb)


def gpus(node: NodeEntry) -> list[DeviceEntry]:
    """Return a node's GPUs; where it has none, its CPU with the RAM."""
    found = [device for device in node.devices if device.kind != "cpu"]
    return found or list(node.devices)


def node_state(node: NodeEntry) -> str:
    """Return how a node is, in a word."""
    return "unhealthy" if not node.healthy else "maintenance" if node.maintenance else "healthy"


def models_part(board: Board, glance: Glance) -> Part:
    """Return which model is where, what it does, and for which of them somebody waits."""
    columns = (
        Column("MODEL", least=12),
        Column("NODE", least=6),
        Column("STATE"),
        Column("DEV", rank=6, right=True),
        Column("REQ", right=True),
        Column("WAIT", rank=1, right=True),
        Column("TOK/S", rank=2, right=True),
        Column("GIB", rank=4, right=True),
        Column("IDLE", rank=3, right=True),
        Column("NOTE", rank=5, least=6, grows=True),
    )
    speeds, waiting = tokens_per_s(board), waiting_by_model(board)
    there = [one for one in board.instances if one.status != "unloaded" or one.error is not None]
    sorts: dict[str, Callable[[InstanceEntry], Any]] = {
        "default": lambda one: (one.status != "loading", one.model, one.node),
        "name": lambda one: (one.model, one.node),
        "busy": lambda one: (-one.in_flight, -speeds.get((one.model, one.node), 0.0), one.model),
        "memory": lambda one: (-(one.vram_used_mb or one.declared_mb or 0), one.model),
    }
    rows = [
        Row(Key("instance", one.model, one.node), partial(_instance_cells, one, speeds, waiting))
        for one in _sorted(there, sorts, glance)
        if _fits(glance, one.model, one.node, one.status, one.harness)
    ]
    homeless = [model for model in waiting if model not in {one.model for one in there}]
    rows += [
        Row(None, partial(_waiting_cells, model, waiting[model]))
        for model in homeless
        if _fits(glance, model, "waiting")
    ]
    return Part(f"MODELS {len(there)}", columns, tuple(rows), "no model is loaded")


def _waiting_cells(model: str, count: int) -> tuple[Cell, ...]:
    return (*_spans(model, ""), Span("waiting", "yellow"), *_spans("", "0", str(count), "", "", "", ""))


def _instance_cells(
    one: InstanceEntry, speeds: dict[tuple[str, str], float], waiting: dict[str, int]
) -> tuple[Cell, ...]:
    speed, memory = speeds.get((one.model, one.node)), one.vram_used_mb or one.declared_mb
    most = "" if one.parallel is None else f"/{one.parallel}"
    idle = "" if one.idle_s is None or one.in_flight or one.status != "loaded" else span_of(one.idle_s)
    return (
        *_spans(one.model, one.node),
        Span(one.status, COLOURS.get(one.status, "")),
        *_spans(
            ",".join(map(str, one.devices)),
            f"{one.in_flight}{most}",
            str(waiting.get(one.model) or ""),
            f"{speed:.1f}" if speed and speed >= 0.05 else "",
            gib(memory) if memory else "",
            idle,
        ),
        Span(note_of(one), "red" if one.error is not None else ""),
    )


def note_of(one: InstanceEntry) -> str:
    """Return what else there is to say of an instance."""
    notes = []
    if one.status == "loading" and one.progress is not None:
        notes.append(f"{one.progress:.0%}")
    if one.pinned:
        notes.append("pinned")
    if one.error is not None:
        notes.append(one.error.message)
    if one.status == "loaded" and not one.ready:
        notes.append("not reached yet")
    return ", ".join(notes)


def requests_part(board: Board, glance: Glance) -> Part:
    """Return the requests that run, then those that are over, the newest first."""
    columns = (
        Column("REQUEST", rank=8),
        Column("MODEL", least=10),
        Column("NODE", rank=4, least=6),
        Column("CALLER", rank=3, least=8),
        Column("STATE"),
        Column("TIME", right=True),
        Column("TTFT", rank=1, right=True),
        Column("TOKENS", rank=2, right=True),
        Column("TOK/S", rank=6, right=True),
        Column("WHY", rank=5, least=6, grows=True),
    )
    running = [one for one in board.running if _fits(glance, *_words_of(one), one.state)]
    over = [one for one in board.finished if _fits(glance, *_words_of(one), one.outcome, one.error or "")]
    sorts: dict[str, Callable[[Any], Any]] = {
        "name": lambda one: one.model,
        "busy": lambda one: -(one.for_s if isinstance(one, RunningRequest) else one.duration_s),
        "memory": lambda one: -(one.completion_tokens or 0),
    }
    rows = [
        Row(Key("running", one.request_id), partial(_running_cells, one)) for one in _sorted(running, sorts, glance)
    ]
    rows += [
        Row(Key("finished", str(one.number)), partial(_finished_cells, one)) for one in _sorted(over, sorts, glance)
    ]
    return Part(f"REQUESTS {board.running_count} running", columns, tuple(rows), "no request yet")


def _words_of(one: RunningRequest | FinishedRequest) -> tuple[str, ...]:
    return (one.request_id, one.model, one.node, one.caller, one.key, one.operation)


def _running_cells(one: RunningRequest) -> tuple[Cell, ...]:
    style = "green" if one.state == "streaming" else "yellow"
    why = one.outlook or (f"cold: {one.why.reason}" if one.why is not None else "")
    return (
        *_spans(_short(one.request_id), one.model, one.node, one.key or one.caller),
        Span(one.state, style),
        *_spans(span_of(one.for_s), _told(one.first_token_s), _number(one.completion_tokens), "", why),
    )


def _finished_cells(one: FinishedRequest) -> tuple[Cell, ...]:
    why = f"{one.error}" if one.error else ""
    if one.why is not None:
        why = f"{why}: {one.why.reason}" if why else f"cold: {one.why.reason}"
    return (
        *_spans(_short(one.request_id), one.model or "-", one.node, one.key or one.caller),
        Span(one.outcome, "dim" if one.outcome in ("ok", "client_gone") else "red"),
        *_spans(span_of(one.duration_s), _told(one.first_token_s), _number(one.completion_tokens)),
        Span("" if one.tokens_per_s is None else f"{one.tokens_per_s:.1f}"),
        Span(why),
    )


def decisions_part(board: Board, glance: Glance) -> Part:
    """Return what was decided, the newest first."""
    columns = (
        Column("TIME"),
        Column("DECISION"),
        Column("MODEL", least=10),
        Column("NODE", rank=1, least=6),
        Column("FOR", rank=2, least=6),
        Column("REASON", least=10, grows=True),
    )
    sorts: dict[str, Callable[[DecisionEntry], Any]] = {"name": lambda one: one.model}
    rows = [
        Row(Key("decision", str(one.number)), partial(_decision_cells, one))
        for one in _sorted(board.decisions, sorts, glance)
        if _fits(glance, one.kind, one.model, one.node, one.caller, one.reason)
    ]
    return Part("DECISIONS", columns, tuple(rows), "nothing was decided yet")


def _decision_cells(one: DecisionEntry) -> tuple[Cell, ...]:
    style = {"failure": "red", "refusal": "red", "eviction": "yellow"}.get(one.kind, "")
    times = f" ({one.count} times)" if one.count > 1 else ""
    return (
        Span(clock_of(one.epoch_s)),
        Span(one.kind, style),
        *_spans(one.model, one.node, one.caller, f"{one.reason}{times}"),
    )


def _short(request_id: str) -> str:
    return request_id.removeprefix("req-")[:8]


def _fits(glance: Glance, *words: str) -> bool:
    wanted = glance.filter.casefold()
    return not wanted or any(wanted in word.casefold() for word in words)


def _sorted(things: Sequence[Any], sorts: dict[str, Callable[[Any], Any]], glance: Glance) -> list[Any]:
    by = sorts.get(glance.sort)
    return list(things) if by is None else sorted(things, key=by)


def _spans(*texts: str) -> tuple[Span, ...]:
    return tuple(Span(text) for text in texts)


def _told(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}s" if seconds < 10 else span_of(seconds)


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def clock_of(epoch_s: float) -> str:
    """Return a time of day as it is here."""
    return time.strftime("%H:%M:%S", time.localtime(epoch_s))


def gib(mib: int) -> str:
    """Return an amount of memory in GiB, short."""
    amount = mib / MIB_IN_GIB
    return f"{amount:.1f}" if amount < 100 else f"{amount:.0f}"


def span_of(seconds: float) -> str:
    """Return a duration, short: ``4.2s``, ``12m``, ``3h``, ``2d``."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    for unit, size, most in (("m", 60, 60), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"

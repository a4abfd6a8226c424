"""Who uses what of a device, as pieces of a bar: from a node's books to shares of its width. Pure.

Of an instance two pieces: what was measured, and what it was promised beyond that. What is neither known nor promised
is free; the last of it is the headroom, which nobody is given.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple
from zlib import crc32

from cortex.fleet.memory import NodeMemory

WIDTH = 1000
"""Of a whole bar."""
HUES = 8
"""So many colours tell models apart."""

PieceKind = Literal["used", "promised", "reserved", "strangers", "free", "headroom"]


class Piece(NamedTuple):
    """One piece: where it begins and how wide it is, in parts of ``WIDTH``. ``hue`` is a model's."""

    kind: PieceKind
    label: str
    amount_mb: int
    left: float
    width: float
    hue: int = 0


class Holder(NamedTuple):
    """One instance on one device; ``measured_mb`` None: nobody could tell it apart."""

    model: str
    hue: int
    held_mb: int
    measured_mb: int | None
    declared_mb: int


class Bar(NamedTuple):
    """One device. ``free_mb`` None: nobody knows who else uses it."""

    total_mb: int
    pieces: tuple[Piece, ...]
    holders: tuple[Holder, ...]
    reserved: tuple[tuple[str, int], ...]
    strangers_mb: int | None
    free_mb: int | None
    headroom_mb: int
    is_over: bool
    """More is in use or promised than there is."""

    @property
    def words(self) -> str:
        """The bar in a sentence, for who does not see it."""
        parts = [f"{piece.label} {piece.amount_mb} MiB" for piece in self.pieces]
        return f"{', '.join(parts) or 'nothing known'}, of {self.total_mb} MiB"


def hues_of(models: Sequence[str]) -> dict[str, int]:
    """Return a colour for each model: the same everywhere, and on one node different ones while there are enough."""
    taken: dict[str, int] = {}
    for model in sorted(models):
        hue = crc32(model.encode("utf-8", "replace")) % HUES
        free = [(hue + step) % HUES for step in range(HUES) if (hue + step) % HUES not in taken.values()]
        taken[model] = free[0] if free else hue
    return taken


def bar_of(memory: NodeMemory, index: int, hues: dict[str, int]) -> Bar:
    """Return the bar of one device."""
    room = memory.rooms[index]
    holders = tuple(_holders(memory, index, hues))
    resident = {holder.model for holder in holders}
    reserved = tuple(
        (promise.key, share.declared_mb)
        for promise in memory.reservations
        for share in promise.shares
        if share.device == index and share.declared_mb and promise.key not in resident
    )
    left_mb = memory.left_mb[index]
    amounts: list[tuple[PieceKind, str, int, int]] = []
    for holder in holders:
        used_mb = holder.held_mb if holder.measured_mb is None else holder.measured_mb
        amounts.append(("used", holder.model, used_mb, holder.hue))
        amounts.append(("promised", f"promised to {holder.model}", holder.held_mb - used_mb, holder.hue))
    amounts += [("reserved", f"reserved {key}".strip(), amount_mb, 0) for key, amount_mb in reserved]
    amounts.append(("strangers", "strangers", room.strangers_mb or 0, 0))
    amounts.append(("free", "free", max(0, left_mb), 0))
    amounts.append(("headroom", "headroom", min(memory.headroom_mb, max(0, left_mb + memory.headroom_mb)), 0))
    return Bar(
        total_mb=room.total_mb,
        pieces=tuple(_laid_out(amounts, room.total_mb)),
        holders=holders,
        reserved=reserved,
        strangers_mb=room.strangers_mb,
        free_mb=memory.free_mb[index],
        headroom_mb=memory.headroom_mb,
        is_over=left_mb < 0,
    )


def _holders(memory: NodeMemory, index: int, hues: dict[str, int]) -> Iterator[Holder]:
    for resident in memory.residents:
        for share in resident.shares:
            if share.device == index:
                yield Holder(
                    model=resident.key,
                    hue=hues.get(resident.key, 0),
                    held_mb=share.held_mb,
                    measured_mb=share.measured_mb,
                    declared_mb=share.declared_mb,
                )


def _laid_out(amounts: list[tuple[PieceKind, str, int, int]], total_mb: int) -> Iterator[Piece]:
    whole_mb = max(total_mb, sum(amount_mb for _, _, amount_mb, _ in amounts), 1)
    left_mb = 0
    for kind, label, amount_mb, hue in amounts:
        if amount_mb > 0:
            yield Piece(
                kind=kind,
                label=label,
                amount_mb=amount_mb,
                left=round(left_mb * WIDTH / whole_mb, 1),
                width=round(amount_mb * WIDTH / whole_mb, 1),
                hue=hue,
            )
            left_mb += amount_mb

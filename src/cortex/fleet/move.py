"""Moves: models leave a node that is in maintenance, or a harness that is to be restarted. Make before break.

One move at a time in the whole fleet, and one step of it at a time. A model has a place elsewhere when it is loaded on
another healthy node that stays; only then is it unloaded here. What cannot be had elsewhere leaves when it has been
idle for ``defrag_idle_s``, which costs whoever asks next a cold start.

Maintenance, per model: loaded elsewhere, or cold and not to be kept: unloaded here. Else loaded elsewhere, where it
fits or where colder ones make room. Else it stays until it is idle.
A restart: begun only when everything that cannot be had elsewhere is idle enough. First all that is in use is loaded
elsewhere, then those with requests are drained, then the harness is restarted, and at last what was there only is
loaded again. Nothing is forced, and nothing is done while something is loaded or leaves there.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cortex.fleet.defrag import DefragBook, DueHarness
from cortex.fleet.estate import COLD_S, Estate, Standing, is_in_maintenance
from cortex.fleet.stewardship import Advice, StewardRules, StewardView

STUCK_S = 15.0
"""One that cannot go on lets others go first for so long."""
RETURN_S = 600.0
"""What was unloaded for a restart is loaded again within this, or by the next request for it."""
BEGIN_S = 15.0
"""A new steward begins no move before it has heard of those that the last one has left under way."""
NEWS_S = 15.0
"""A restart that is over shows in what its node tells within this, or it was refused."""


class _Return(NamedTuple):
    """Models that a restart takes down: those that are nowhere else, or belong there."""

    node: str
    harness: str
    cycles: int
    models: tuple[str, ...]
    pinned: frozenset[str]
    """Those of them that belong there, wherever else they are."""
    asked_s: float


class Mover:
    """Goes on with one move until it is over or stuck. What it remembers may be lost: the next steward looks anew."""

    def __init__(self, rules: StewardRules) -> None:
        self._rules = rules
        self._defrag = DefragBook(rules.defrag_after_cycles)
        self._current: tuple[str, str] | None = None
        """The node, and the harness or nothing for the whole node."""
        self._stuck_s: dict[tuple[str, str], float] = {}
        self._returning: _Return | None = None
        self._begin_s: float | None = None

    def advise(self, estate: Estate) -> list[Advice]:
        """Return the next step of the move under way, or the first of another one."""
        view, now_s = estate.view, estate.now_s
        self._begin_s = now_s + BEGIN_S if self._begin_s is None else self._begin_s
        if now_s < self._begin_s:
            return []
        due = {(found.node, found.harness): found for found in self._defrag.due(view.nodes, now_s)}
        if self._is_step_under_way(view):
            return []
        returns = self._bring_back(estate)
        if returns is not None:
            return returns
        for scope in self._scopes(view, due, now_s):
            estate.close(scope[0])
            if estate.is_in_motion(scope[0]) or self._is_coming(scope, estate):
                if scope == self._current or estate.is_emptying(scope[0]):
                    return []  # a step of it has to end first, or one of the last steward's
                continue
            steps = self._restart(due[scope], estate) if scope in due else self._leave(scope[0], estate)
            if steps:
                self._current = scope
                return steps
            self._stuck_s[scope] = now_s + STUCK_S
        self._current = None
        return []

    def _is_step_under_way(self, view: StewardView) -> bool:
        """Tell whether something goes down for a move, which goes on though its reason may be gone by now."""
        node = self._current[0] if self._current is not None else ""
        return bool(view.restarting) or any(pair[0] == node for pair in view.unloading)

    def _scopes(
        self, view: StewardView, due: dict[tuple[str, str], DueHarness], now_s: float
    ) -> Sequence[tuple[str, str]]:
        """Return what is to be cleared: what was begun, then nodes in maintenance, then harnesses, the worst first."""
        clearing = [(node.name, "") for node in view.nodes if node.is_healthy and is_in_maintenance(node)]
        wanted = [*clearing, *due]
        self._stuck_s = {scope: until_s for scope, until_s in self._stuck_s.items() if now_s < until_s}
        free = [scope for scope in wanted if scope not in self._stuck_s]
        return sorted(free, key=lambda scope: scope != self._current)

    def _is_coming(self, scope: tuple[str, str], estate: Estate) -> bool:
        """Tell whether something of a scope is being loaded elsewhere."""
        return any(estate.coming(one.model) for one in estate.on(*scope))

    # Maintenance

    def _leave(self, node: str, estate: Estate) -> list[Advice]:
        ours = [one for one in estate.on(node) if one.report.generation]  # others run by themselves
        for one in sorted(ours, key=lambda one: (not estate.elsewhere(one.model, node), -one.idle_s, one.model)):
            advice = self._leave_one(one, estate)
            if advice is not None:
                return [advice]
        return []

    def _leave_one(self, one: Standing, estate: Estate) -> Advice | None:
        there = estate.elsewhere(one.model, one.node)
        if there:
            return _unload(one, f"{one.node} is in maintenance, and {there[0].node} has it")
        if one.idle_s >= COLD_S and not estate.is_kept(one.model, without=0):
            return _unload(one, f"{one.node} is in maintenance, and nobody has used it for {one.idle_s:.0f} s")
        moved = self._load_elsewhere(one, estate, f"{one.node} is in maintenance", may_clear=True)
        if moved is not None:
            return moved
        if one.idle_s >= self._rules.defrag_idle_s:
            return _unload(one, f"{one.node} is in maintenance; no other node has room, and it is idle")
        return None

    # Restarts

    def _restart(self, due: DueHarness, estate: Estate) -> list[Advice]:
        here = estate.on(due.node, due.harness)
        alone = [one for one in here if not estate.elsewhere(one.model, due.node)]
        waiting = [one for one in alone if one.idle_s < self._rules.defrag_idle_s]
        moves = [self._load_elsewhere(one, estate, f"{due.why}: it is restarted", may_clear=False) for one in waiting]
        if None in moves:
            return []  # somebody needs what only this harness has
        for move in moves:
            if move is not None:
                estate.note(move)
                return [move]
        busy = [one for one in here if one.in_flight]
        if busy:
            return [_unload(one, f"{due.why}: it is restarted; {_other(one, estate)} has it") for one in busy]
        return [self._now(due, here, alone, estate.now_s)]

    def _now(self, due: DueHarness, here: Sequence[Standing], alone: Sequence[Standing], now_s: float) -> Advice:
        self._defrag.note(due, now_s)
        back = tuple(one.model for one in here if one in alone or one.report.pinned)
        pinned = frozenset(one.model for one in here if one.report.pinned)
        self._returning = _Return(due.node, due.harness, due.cycles, back, pinned, now_s)
        names = ", ".join(one.model for one in alone)
        pause = f"; {names} cannot be had until that is over" if names else ""
        reason = f"{due.why}, and is idle: it is restarted{pause}"
        return Advice(kind="restart", node=due.node, harness=due.harness, cycles=due.cycles, reason=reason)

    def _bring_back(self, estate: Estate) -> list[Advice] | None:
        """Return loads of what a restart has taken down, one after the other; None when there is nothing to do."""
        back = self._returning
        harness = None if back is None else estate.harness(back.node, back.harness)
        if back is None or harness is None or estate.now_s >= back.asked_s + RETURN_S:
            self._returning = None
            return None
        if estate.is_in_motion(back.node):
            return []
        if harness.cycles >= back.cycles:
            if estate.now_s < back.asked_s + NEWS_S:
                return []
            self._returning = None
            return None
        for position, model in enumerate(back.models, 1):
            if estate.coming(model):
                return []  # it was asked for meanwhile, and is loaded elsewhere
            if model not in back.pinned and estate.elsewhere(model, back.node):
                continue
            placement = estate.home(model, back.node)
            if placement is not None and placement.fits_free is not False:
                self._returning = back._replace(models=back.models[position:])
                reason = f"{back.harness} was restarted"
                return [Advice(kind="load", node=back.node, model=model, placement=placement, reason=reason)]
        self._returning = None
        return None

    def _load_elsewhere(self, one: Standing, estate: Estate, why: str, *, may_clear: bool) -> Advice | None:
        roomy = next(iter(estate.targets(one.model)), None)
        found = (roomy, ()) if roomy is not None else estate.clearable(one.model) if may_clear else None
        if found is None:
            return None
        placement, victims = found
        return Advice(
            kind="load", node=placement.node, model=one.model, placement=placement, evict=victims, reason=why,
            leaves=one.node,
        )  # fmt: skip


def _unload(one: Standing, reason: str) -> Advice:
    return Advice(kind="unload", node=one.node, model=one.model, reason=reason)


def _other(one: Standing, estate: Estate) -> str:
    return next((other.node for other in estate.elsewhere(one.model, one.node)), "no other node")

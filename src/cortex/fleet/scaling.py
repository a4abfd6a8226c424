"""How many replicas a model should have, and which one is added or goes. Decides no moves.

Per model of the catalogue, in this order:

1. fewer than ``min_replicas``, or none of one to preload that was not loaded yet: one more where it fits; else where
   colder models of no higher rank make room;
2. requests have waited for ``scale_after_s`` while every replica was at its limit, and ``max_replicas`` says that there
   may be more: one more, where it fits with nobody going;
3. more than ``max_replicas``: an idle one goes;
4. more than ``min_replicas`` (and more than one), nobody has waited for ``scale_idle_s``, and one has been idle for so
   long: that one goes.

Without ``max_replicas`` nothing grows by itself, and without either key nothing is added or taken. A pinned replica
stays. A model has at most one load under way; a node is given one load at a time.
"""

from collections.abc import Iterator

from cortex.contract.instance import Victim
from cortex.contract.profile import Profile
from cortex.fleet.estate import Estate, Standing
from cortex.fleet.placement import rendezvous
from cortex.fleet.stewardship import Advice, StewardRules

MOST_LOADS = 8
"""Models for which a place is looked for in one tick: what more is wanted comes with the next one."""
LOOK_AGAIN_S = 5.0
"""A model that has no place is looked at again after so long."""
NODES_PER_S = 200.0
"""After a look in vain at all nodes of a large fleet no other one is taken for a while: so many in a second."""
SMALL_FLEET = 32
"""Nodes that are looked at without a thought."""
NOBODY: tuple[Victim, ...] = ()
QUIET_S = 10.0
"""A replica beyond the limit goes when it has been idle for so long."""


class Scaling:
    """Remembers what one tick cannot show: since when somebody has waited, and what was preloaded."""

    def __init__(self, rules: StewardRules) -> None:
        self.rules = rules
        self._pressed_s: dict[str, float] = {}
        self._waited_s: dict[str, float] = {}
        self._preloaded: set[str] = set()
        self._placeless_s: dict[str, float] = {}
        self._search_s = float("-inf")

    def advise(self, estate: Estate) -> Iterator[Advice]:
        """Go through all models; each piece of advice is noted in the estate before the next model is looked at."""
        searches = MOST_LOADS
        profiles = [stand.profile for stand in estate.view.models if stand.profile is not None]
        self._forget_others({profile.id for profile in profiles})
        for profile in sorted(profiles, key=lambda profile: (-profile.priority, profile.id)):
            self._watch(profile, estate)
            may_search = searches and estate.now_s >= self._search_s
            why = self._wants_more(profile, estate) if may_search else ""
            if why:
                searches -= 1
                advice = self._somewhere(profile, estate, why)
            else:
                advice = self._unload(profile, estate)
            if advice is not None:
                yield advice

    def _watch(self, profile: Profile, estate: Estate) -> None:
        """Note since when every replica has been at its limit while somebody waits."""
        key, up = profile.id, estate.up(profile.id)
        if up:
            self._preloaded.add(key)
        if estate.waiting(key):
            self._waited_s[key] = estate.now_s
        if estate.waiting(key) and up and all(one.is_saturated for one in up) and not estate.coming(key):
            self._pressed_s.setdefault(key, estate.now_s)
        else:
            self._pressed_s.pop(key, None)

    def _wants_more(self, profile: Profile, estate: Estate) -> str:
        """Say why a model is to have one more replica now; empty: it is not."""
        key, have = profile.id, len(estate.up(profile.id))
        if estate.coming(key) or estate.now_s < self._placeless_s.get(key, float("-inf")):
            return ""
        if have < self._wanted(profile):
            return f"{have} of {profile.min_replicas} replicas" if profile.min_replicas else "to be preloaded"
        waited_s = estate.now_s - self._pressed_s.get(key, estate.now_s)
        if waited_s < self.rules.scale_after_s or have >= (profile.max_replicas or 0):
            return ""
        return f"{estate.waiting(key)} requests wait, for {waited_s:.0f} s, and {have} of it are busy"

    def _wanted(self, profile: Profile) -> int:
        wanted = max(profile.min_replicas, int(profile.preload and profile.id not in self._preloaded))
        return wanted if profile.max_replicas is None else min(wanted, profile.max_replicas)

    def _somewhere(self, profile: Profile, estate: Estate, why: str) -> Advice | None:
        """Return a load where it fits; of a replica that must be, also where it may fit or where some go for it."""
        key, is_needed = profile.id, len(estate.up(profile.id)) < self._wanted(profile)
        places = [(placement, NOBODY) for placement in estate.targets(key, is_certain=not is_needed)[:1]]
        cleared = estate.clearable(key) if is_needed and not places else None
        for placement, victims in places if cleared is None else [cleared]:
            advice = Advice(kind="load", node=placement.node, model=key, placement=placement, evict=victims, reason=why)
            estate.note(advice)
            return advice
        self._placeless_s[key] = estate.now_s + LOOK_AGAIN_S
        self._search_s = estate.now_s + len(estate.nodes) // SMALL_FLEET * SMALL_FLEET / NODES_PER_S
        return None

    def _unload(self, profile: Profile, estate: Estate) -> Advice | None:
        key, rules = profile.id, self.rules
        if profile.max_replicas is None and not profile.min_replicas:
            return None
        up = [one for one in estate.up(key) if estate.nodes[one.node].is_healthy]
        least = max(1, profile.min_replicas)
        if len(up) <= least or estate.coming(key) or estate.waiting(key) or estate.is_leaving(key):
            return None
        is_above = profile.max_replicas is not None and len(up) > profile.max_replicas
        needs_s = QUIET_S if is_above else rules.scale_idle_s
        if not is_above and estate.now_s - self._waited_s.get(key, float("-inf")) < rules.scale_idle_s:
            return None
        idle = [one for one in up if one.idle_s >= needs_s and not _stays(one, profile)]
        if not idle:
            return None
        going = max(idle, key=lambda one: (one.idle_s, rendezvous(one.node, key)))
        why = f"one of {len(up)} replicas, idle for {going.idle_s:.0f} s"
        return Advice(kind="unload", node=going.node, model=key, reason=why)

    def _forget_others(self, known: set[str]) -> None:
        for book in (self._pressed_s, self._waited_s, self._placeless_s):
            for key in book.keys() - known:
                del book[key]
        self._preloaded &= known


def _stays(one: Standing, profile: Profile) -> bool:
    """Tell whether a replica is to stay: it is pinned, or it runs by itself."""
    return one.report.pinned or one.node in profile.pinned_on or not one.report.generation

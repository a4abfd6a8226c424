"""Two simpler schedulers, in a world of their own in which only loads and requests take time.

``Lru``: every model has a queue; what is not loaded evicts whoever was used longest ago and is idle, one after the
other until it fits. ``OneAtATime``: one queue for everything, as Ollama's pending requests: the first of it that has no
place holds up all behind it. Both take the node with the most free memory; an instance is on one device, or on all of
its node where one is too small.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from cortex.contract.profile import Profile
from cortex.testing.replay_fleet import ReplayFleet, ReplayNode
from cortex.testing.replay_trace import Arrival

PARALLEL = 4


class Played:
    """What became of a trace."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []
        self.cold_starts = self.loads = self.evictions = 0


class _Instance:
    def __init__(self, model: str, node: str, devices: tuple[int, ...], share_mb: int, used_s: float) -> None:
        self.model = model
        self.node = node
        self.devices = devices
        self.share_mb = share_mb
        self.used_s = used_s
        self.running = 0
        self.is_loaded = False


class _Waiting:
    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.is_cold = False


class Lru:
    """Plain LRU: evicts the one used longest ago."""

    def __init__(self, fleet: ReplayFleet, profiles: Sequence[Profile]) -> None:
        self._fleet = fleet
        self._profiles = {profile.id: profile for profile in profiles}
        self._nodes = {node.name: node for node in fleet.nodes}
        self._instances: dict[str, _Instance] = {}
        self._queue: deque[_Waiting] = deque()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._now_s = 0.0
        self._played = Played()

    def play(self, arrivals: Sequence[Arrival]) -> Played:
        """Play a trace to its end."""
        for arrival in arrivals:
            self._at(arrival.at_s, lambda arrival=arrival: self._arrive(arrival))
        while self._heap:
            self._now_s, _, happen = heapq.heappop(self._heap)
            happen()
            self._advance()
        return self._played

    def _at(self, at_s: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (at_s, next(self._order), happen))

    def _arrive(self, arrival: Arrival) -> None:
        self._queue.append(_Waiting(arrival))

    def _advance(self) -> None:
        """Serve whom can be served, whatever waits before them."""
        for waiting in list(self._queue):
            if self._serve(waiting):
                self._queue.remove(waiting)

    def _serve(self, waiting: _Waiting) -> bool:
        """Give a request its place, or see to a load; False when it still waits."""
        arrival, instance = waiting.arrival, self._instances.get(waiting.arrival.model)
        if instance is None:
            waiting.is_cold |= self._load(arrival.model)
            return False
        waiting.is_cold |= not instance.is_loaded
        if not instance.is_loaded or instance.running >= PARALLEL:
            return False
        instance.running += 1
        instance.used_s = self._now_s
        self._played.waits_s.append(self._now_s - arrival.at_s)
        self._played.cold_starts += waiting.is_cold

        def finish() -> None:
            instance.running -= 1
            instance.used_s = self._now_s

        self._at(self._now_s + arrival.duration_s, finish)
        return True

    def _load(self, model: str) -> bool:
        """Load a model where it fits, or where idle ones can go for it; False when neither is so yet."""
        place = self._place(model, without=()) or self._make_room(model)
        if place is None:
            return False
        node, devices = place
        need_mb = self._profiles[model].vram_mb or 0
        instance = _Instance(model, node, devices, -(-need_mb // len(devices)), self._now_s)
        self._instances[model] = instance
        self._played.loads += 1

        def ready() -> None:
            instance.is_loaded = True

        self._at(self._now_s + self._fleet.load_s_of(model, need_mb), ready)
        return True

    def _make_room(self, model: str) -> tuple[str, tuple[int, ...]] | None:
        """Evict idle ones, the one used longest ago first, until the model fits somewhere."""
        idle = [one for one in self._instances.values() if one.is_loaded and not one.running]
        gone: list[_Instance] = []
        for victim in sorted(idle, key=lambda one: one.used_s):
            gone.append(victim)
            place = self._place(model, without=gone)
            if place is not None:
                for one in gone:
                    del self._instances[one.model]
                self._played.evictions += len(gone)
                return place
        return None

    def _place(self, model: str, without: Sequence[_Instance]) -> tuple[str, tuple[int, ...]] | None:
        need_mb, best = self._profiles[model].vram_mb or 0, None
        for node in self._nodes.values():
            free = self._free_mb(node, without)
            emptiest = max(range(len(free)), key=lambda device: free[device])
            choices = [(emptiest,), tuple(range(len(free)))]
            fitting = [one for one in choices if all(free[device] >= -(-need_mb // len(one)) for device in one)]
            if fitting and (best is None or free[emptiest] > best[0]):
                best = (free[emptiest], node.name, fitting[0])
        return None if best is None else best[1:]

    def _free_mb(self, node: ReplayNode, without: Sequence[_Instance]) -> list[int]:
        free = [mb - node.headroom_mb for mb in node.devices_mb]
        for one in self._instances.values():
            if one.node == node.name and one not in without:
                for device in one.devices:
                    free[device] -= one.share_mb
        return free


class OneAtATime(Lru):
    """One queue, in order: who has no place yet holds up everybody behind."""

    def _advance(self) -> None:
        while self._queue and self._serve(self._queue[0]):
            self._queue.popleft()

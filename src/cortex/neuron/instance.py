"""What the neuron knows of one model on this node, through all its lives.

Data with one writer at a time: ``life.py`` while a life runs, the supervisor between two lives.
"""

from collections.abc import Mapping

from cortex.contract.instance import InstanceError, InstanceReport, InstanceStatus, UnloadReason
from cortex.neuron.endpoint import Reach
from cortex.neuron.harness.interface import Activity, Engine, Harness, Launch
from cortex.neuron.refusal import NotLoaded
from cortex.residency.leased_generation import NO_USAGE, Usage
from cortex.residency.lifecycle import LifecycleEvent, Refused, transition
from cortex.residency.protection import protected_left_s

LEAVING: frozenset[InstanceStatus] = frozenset({"draining", "unloading", "unloaded"})
SILENT_AFTER_S = 15.0
"""An engine that answers none of three questions is told of: it hangs, or is too busy to be asked."""


class Instance:
    """One model id. The fields describe the newest life; an unloaded model keeps its launch, to be loaded so again."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        self.status: InstanceStatus = "unloaded"
        self.error: InstanceError | None = None
        self.unload_reason: UnloadReason | None = None
        """Why it was last asked to leave in this life."""
        self.harness: Harness | None = None
        self.launch: Launch | None = None
        self.engine: Engine | None = None
        self.in_flight = 0
        self.counted_s: float | None = None
        """When the engine was asked for that number, on the neuron's clock; None where it never told."""
        self.work = 0.0
        self.active_s: float | None = None
        """When it was last seen working, on the neuron's clock."""
        self.is_silent = False
        """Whether its engine has not said for a while what it is doing, though it is asked."""
        self.vram_used_mb: int | None = None
        self.loaded_s: float | None = None
        """When this life began to serve, on the neuron's clock."""
        self.load_s: float | None = None
        """How long the last load took that ended well."""
        self.lives = 0
        """How many this neuron process has begun."""
        self.pin: bool | None = None
        """Whether an operator has pinned it; None: what its load says."""

    def move(self, event: LifecycleEvent) -> None:
        """Take the step that ``event`` leads to. Raises: RuntimeError when the table has none: a defect."""
        after = transition(self.status, event)
        if isinstance(after, Refused):
            raise RuntimeError(f"{self.model_id}: '{event}' does not belong to state '{self.status}'")
        self.status = after

    def begin(self, harness: Harness, launch: Launch) -> None:
        """Start a new life: nothing of the last one shows any more."""
        self.move("load_requested")
        self.error, self.harness, self.launch, self.engine = None, harness, launch, None
        self.unload_reason = None
        self.in_flight, self.work, self.active_s, self.vram_used_mb = 0, 0.0, None, None
        self.loaded_s = self.counted_s = None
        self.is_silent = False
        self.lives += 1

    def reach(self) -> Reach:
        """Return where the model is reached. Raises: NotLoaded with the state."""
        if self.status != "loaded" or self.harness is None or self.launch is None or self.engine is None:
            raise NotLoaded(f"{self.model_id} is {self.status}", status=self.status)
        handle = self.engine.handle
        generation, nonce = self.launch.generation, self.launch.nonce
        return Reach(
            harness=self.harness.name,
            url=handle.url,
            generation=generation,
            engine_model=handle.engine_model,
            nonce=nonce,
            credential=handle.credential,
            kind=self.harness.kind,
            context=handle.context or self.launch.request.context or self.launch.prepared.context,
        )

    @property
    def is_pinned(self) -> bool:
        """Tell whether it is never to be evicted."""
        return self.pin if self.pin is not None else self.launch is not None and self.launch.request.pinned

    def protected_s(self, now_s: float) -> float:
        """Return for how long it must not be evicted yet; of one that does not serve 0."""
        if self.status not in ("loaded", "draining") or self.launch is None or self.loaded_s is None:
            return 0.0
        return protected_left_s(self.loaded_s, self.launch.request.min_residency_s, self.load_s, now_s)

    @property
    def is_work_known(self) -> bool:
        """Tell whether its engine says when it works."""
        return self.harness is not None and self.harness.capabilities.reports_in_flight

    def note(self, activity: Activity | None, asked_s: float, now_s: float) -> None:
        """Take in what the engine said when it was asked for its activity; None: nothing."""
        self.is_silent = activity is None and self.is_work_known and self._silence_s(now_s) >= SILENT_AFTER_S
        if activity is None:
            return
        self.counted_s = asked_s
        if activity.in_flight or activity.work != self.work:
            self.active_s = now_s
        self.in_flight, self.work = activity.in_flight, activity.work

    def _silence_s(self, now_s: float) -> float:
        heard = [heard_s for heard_s in (self.loaded_s, self.counted_s) if heard_s is not None]
        return now_s - max(heard) if heard else 0.0

    def is_idle(self, now_s: float, usage: Usage = NO_USAGE) -> bool:
        """Tell whether it has been without work for as long as its load allows. A pinned one never is.

        Where its engine does not say, gateways do; where they have not either, nobody knows.
        """
        worked_s = self._worked_s(usage)
        if self.status != "loaded" or self.launch is None or worked_s is None:
            return False
        request, is_known = self.launch.request, self.is_work_known or usage.used_s is not None
        if request.idle_unload_s is None or self.is_pinned or self.in_flight or usage.in_flight or not is_known:
            return False
        resides_s = now_s - (self.loaded_s or 0.0)
        return now_s - worked_s >= request.idle_unload_s and resides_s >= (request.min_residency_s or 0.0)

    def _worked_s(self, usage: Usage) -> float | None:
        """Return when it last worked: by its engine, else by what gateways had there; as it was loaded at first."""
        if self.is_work_known or usage.used_s is None or self.active_s is None:
            return self.active_s
        return max(self.active_s, usage.used_s)

    def report(self, now_s: float, usage: Usage = NO_USAGE) -> InstanceReport:
        """Return the model's entry in ``GET /models``."""
        launch, engine, worked_s = self.launch, self.engine, self._worked_s(usage)
        is_up = self.status in ("loaded", "draining")
        has_memory = launch is not None and self.status != "unloaded"
        return InstanceReport(
            id=self.model_id,
            harness=self.harness.name if self.harness else "",
            kind=self.harness.kind if self.harness else "",
            status=self.status,
            devices=tuple(device.index for device in launch.devices) if launch and has_memory else (),
            vram_used_mb=self.vram_used_mb if engine else None,
            generation=launch.generation if launch else 0,
            declared_mb=launch.prepared.need_mb if launch and has_memory else None,
            in_flight=0 if not is_up else self.in_flight if self.is_work_known else usage.in_flight,
            waiting=usage.waiting,
            idle_s=None if not is_up or worked_s is None else max(0.0, now_s - worked_s),
            error=self.error,
            progress=launch.progress.fraction if launch and self.status == "loading" else None,
            port=engine.handle.port if engine else None,
            pinned=self.is_pinned,
            parallel=launch.prepared.parallel if launch else None,
            load_s=None if self.load_s is None else round(self.load_s, 3),
            restarts=max(0, self.lives - 1),
            protected_s=round(self.protected_s(now_s), 3),
            silent_s=round(self._silence_s(now_s), 3) if is_up and self.is_silent else None,
            revision=launch.request.revision if launch and has_memory else None,
            unload_reason=self.unload_reason if self.status in LEAVING else None,
        )


def pids_of(instances: Mapping[str, Instance]) -> dict[str, int]:
    """Return the processes that hold the memory of running engines, by model id."""
    running = ((model_id, instance.engine) for model_id, instance in instances.items())
    return {model_id: engine.handle.holder_pid for model_id, engine in running if engine is not None}

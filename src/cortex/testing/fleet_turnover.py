"""How a simulated neuron loads: who may, where, and who goes. ``Supervisor.load`` and ``Turnover``, in steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cortex.contract.error import CapacityError, CortexError
from cortex.contract.instance import LoadAnswer, LoadRequest
from cortex.neuron.harness.interface import Harness, Launch, Prepared
from cortex.neuron.instance import Instance
from cortex.neuron.load_check import check_devices, check_same, completed, essence, pick_harness
from cortex.neuron.refusal import Busy, NoSuchDevice
from cortex.neuron.supervisor import ENDING_WAIT_S
from cortex.neuron.tenant import tenants_of
from cortex.neuron.turnover import _refused
from cortex.residency.eviction import ASK_AGAIN_S, Admitted, Refusal, Scene, Wish, admit, ask_again_s, draw
from cortex.residency.fit import Infeasible
from cortex.testing.fleet_host import Nature, SimulatedEngine
from cortex.testing.fleet_life import Replied, SimulatedDeparture, SimulatedLife

if TYPE_CHECKING:
    from cortex.testing.fleet_supervisor import SimulatedSupervisor


class SimulatedTurnover:
    """The loads of one neuron process."""

    def __init__(self, node: "SimulatedSupervisor") -> None:
        self._node = node

    def load(self, request: LoadRequest, replied: Replied) -> None:
        key = request.model_id
        life, instance = self._node.lives.get(key), self._node.instances.get(key)
        try:
            harness = self._harness_of(request)
            if life is not None and instance is not None and instance.status not in ("loading", "loaded"):
                self._wait_for_end(life, request, replied)
                return
            if instance is not None and instance.status in ("loading", "loaded"):
                assert instance.launch is not None
                check_same(request, harness, instance.launch)
                replied(_answer(instance.launch, instance.status))
                return
            self._node.maintenance.check()
            wanted = completed(request, harness, instance)
            self._node.failures.check(essence(wanted), instance, self._node.now_s)
            self._begin(wanted, harness, replied)
        except CortexError as error:
            replied(error)

    def _wait_for_end(self, life: SimulatedLife, request: LoadRequest, replied: Replied) -> None:
        """Wait a moment for what is left of the model's last life."""
        told: list[None] = []

        def busy() -> None:
            if not told:
                told.append(None)
                words = f"{life.key} is {life.instance.status}: ask again when that is over"
                replied(Busy(words, status=life.instance.status, retry_in_s=ASK_AGAIN_S))

        def ended() -> None:
            if not told:
                told.append(None)
                self.load(request, replied)

        if life.instance.status == "draining":
            busy()
        else:
            life.when_ended(ended)
            self._node.later(ENDING_WAIT_S, busy)

    def _begin(self, request: LoadRequest, harness: Harness, replied: Replied) -> None:
        if self._node.is_restarting:
            raise Busy(f"harness '{harness.name}' is being restarted", harness=harness.name, retry_in_s=ASK_AGAIN_S)
        self._node.sampler.refresh()
        need_mb = request.vram_mb or 0
        devices = self._devices_for(request, harness, need_mb)
        wish = Wish(key=request.model_id, need_mb=need_mb, devices=devices, victims=request.evict)
        admitted = self._admit(wish, request)
        launch = Launch(
            request=essence(request),
            prepared=Prepared(
                need_mb=need_mb,
                is_estimate=False,
                parallel=request.parallel or self._node.natures.get(wish.key, Nature()).parallel,
            ),
            generation=self._node.host.disk.next_generation(),
            nonce=f"{self._node.host.disk._last:x}-{self._node.dice.getrandbits(32):08x}",
            devices=tuple(device for index in devices for device in self._node.devices if device.index == index),
            ordinals=devices,
            log=Path("/dev/null"),
        )
        life = SimulatedLife(self._node, self._node.instances.get(wish.key) or Instance(wish.key), launch)
        if not admitted.victims:
            self._lead(life, harness)
            life.start_engine()
            replied(_answer(launch, "loading"))
        elif admitted.is_due:
            self._take_from(wish, admitted, life, harness, replied)
            self._node.tickets.close(wish.key)
            self._lead(life, harness)
            replied(_answer(launch, "loading"))
        else:
            self._node.begin_deciding(wish.key)
            self._take_from(wish, admitted, life, harness, replied)

    def _harness_of(self, request: LoadRequest) -> Harness:
        return pick_harness(request.harness, self._node.harnesses, self._node.details_by_name)

    def _devices_for(self, request: LoadRequest, harness: Harness, need_mb: int) -> tuple[int, ...]:
        if request.devices:
            check_devices(request.devices, harness, self._node.devices)
            return tuple(request.devices)
        leaving = [victim.model_id for victim in request.evict]
        chosen = self._node.admission.choose(harness.device_kinds, request.tensor_parallel, need_mb, leaving)
        if not chosen:
            raise NoSuchDevice("this node has no such devices")
        return chosen

    def _admit(self, wish: Wish, request: LoadRequest) -> Admitted:
        """Reserve memory for a load: ``Turnover.admit``. Raises: NoRoom, Busy, Held, Stale."""
        verdict = self._node.admission.book.judge(wish.need_mb, wish.devices, self._node.admission.rooms())
        if wish.victims or isinstance(verdict, Infeasible):
            for life in self._node.lives.values():
                if life.is_on(wish.devices):
                    self._node.look_at(life)
        self._node.basis.check(request.basis_event, wish.devices, self._node.events.event)
        tenants = tenants_of(self._node.instances, self._node.leases, self._node.now_s)
        for resident in self._node.admission.book.residents:
            tenant = tenants.get(resident.key)
            self._node.admission.book.offer(resident.key, tenant is not None and tenant.is_evictable)
        scene = Scene(self._node.admission.book, self._node.tickets, self._node.admission.rooms(), tenants)
        self._node.witness.asks(self._node, wish, scene)
        outcome = admit(wish, scene, self._node.now_s)
        if isinstance(outcome, Refusal):
            raise _refused(wish, outcome)
        self._node.witness.admits(self._node, wish, outcome, scene)
        return outcome

    def _take_from(
        self, wish: Wish, admitted: Admitted, life: SimulatedLife, harness: Harness, replied: Replied
    ) -> None:
        """Have the victims go. One that is due waits for them as a load under way."""
        victims = [self._node.lives[key] for key in admitted.victims]
        life.awaits = set(admitted.victims)

        def may_go() -> bool:
            return self._node.takes_loads and not any(victim.instance.is_pinned for victim in victims)

        def decided(goes: bool) -> None:
            if admitted.is_due:
                if not goes:
                    life.fail("busy", f"{' and '.join(admitted.victims)} had to stay")
            elif goes and self._node.takes_loads:
                self._node.tickets.close(wish.key)
                self._lead(life, harness)
                replied(_answer(life.launch, "loading"))
                self._node.decided(wish.key)
                if not life.awaits:
                    life.victim_gone("")
            else:
                self._node.admission.book.release(wish.key)
                replied(self._stayed(wish, admitted.victims))
                self._node.decided(wish.key)

        drain = self._node.drain_of("due" if admitted.is_due else "eviction")
        departure = life.clearing = SimulatedDeparture(self._node, drain, may_go, decided, wish.key)
        for victim in victims:
            victim.propose(departure)
        self._node.later(0.0, departure.look)

    def _stayed(self, wish: Wish, victims: Sequence[str]) -> CapacityError:
        retry_in_s = ask_again_s(self._node.tickets.due_in_s(wish.key, wish.devices, self._node.now_s))
        draw(wish, self._node.tickets, retry_in_s, self._node.now_s)
        refusal = Refusal(code="busy", reason="victims_stayed", key=" and ".join(victims), retry_in_s=retry_in_s)
        return _refused(wish, refusal)

    def _lead(self, life: SimulatedLife, harness: Harness) -> None:
        self._node.instances[life.key], self._node.lives[life.key] = life.instance, life
        life.begin(harness)
        self._node.witness.loads(self._node, life)
        self._node.changed()

    def adopt(self, engine: SimulatedEngine) -> None:
        """Go on with an engine that was found running."""
        devices = tuple(device for index in engine.devices for device in self._node.devices if device.index == index)
        need_mb = engine.declared_mb * max(1, len(engine.devices))
        launch = Launch(
            request=engine.request,
            prepared=Prepared(need_mb=need_mb, is_estimate=False, parallel=engine.parallel),
            generation=engine.generation,
            nonce=engine.nonce,
            devices=devices,
            ordinals=engine.devices,
            log=Path("/dev/null"),
        )
        self._node.admission.book.adopt(engine.model, need_mb, engine.devices)
        life = SimulatedLife(
            self._node, self._node.instances.get(engine.model) or Instance(engine.model), launch, is_new=False
        )
        self._node.instances[life.key], self._node.lives[life.key] = life.instance, life
        life.begin(self._harness_of(engine.request))
        life.take_on(engine)
        self._node.changed()
        if engine.is_serving:
            life.ready()


def _answer(launch: Launch, status: str) -> LoadAnswer:
    return LoadAnswer(status="loaded" if status == "loaded" else "loading", generation=launch.generation)

"""Carries out what takes time: loads, unloads, restarts, questions. Each ends in exactly one event, whatever happens.

A load is asked for once, then followed through ``GET /models`` until the model is loaded or failed; a neuron that does
not answer for a while, or does not know of the load any more, ends it too. Which node and when is not decided here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import msgspec

from cortex.contract.error import CortexError, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from cortex.contract.instance import InstanceReport, LoadRequest, UnloadReason
from cortex.fleet.effect import FetchEndpoint, RestartHarness, Slow, StartLoad, UnloadModel
from cortex.fleet.event import (
    EndpointFailed,
    EndpointFetched,
    LoadFailed,
    LoadSucceeded,
    RestartFinished,
    UnloadFinished,
)
from cortex.fleet.load_book import CALLED_OFF, CAPACITY_CODES
from cortex.gateway.control.neuron_client import NeuronClient, NeuronRefused
from cortex.gateway.control.report import Post, Reporter
from cortex.kit.cause import NOTHING, work_for
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner
from cortex.kit.tracer import Tracer
from cortex.kit.work import Work, begin_work
from cortex.residency.load_deadline import LoadDeadline

Sleep = Callable[[float], Awaitable[None]]

log = logging.getLogger(__name__)


class FollowTiming(msgspec.Struct, frozen=True, kw_only=True):
    """How a load is followed, in seconds."""

    load_timeout_s: float = 1800.0
    """Without progress; more for a large model, as its neuron has it."""
    first_look_s: float = 0.05
    longest_look_s: float = 1.0
    silence_s: float = 15.0
    """A neuron that says nothing usable for so long is not waited for; its load may still end well, and a poll will
    tell."""
    starting_s: float = 30.0
    """How long a neuron may answer "starting" to the request for the load itself."""


CALLING_OFF: frozenset[UnloadReason | None] = frozenset({"request", "restart"})
"""A load that has made way to one of these was called off. After any other it had ended well, and is lost since."""
UNKNOWN_LOOKS = 3
"""So many looks in a row at which the neuron knows nothing of the load, and it is over: the neuron was restarted."""


class Executor:
    """Runs one task per effect; ``clients`` by node name."""

    def __init__(
        self,
        clients: Mapping[str, NeuronClient],
        clock: Clock,
        tasks: TaskOwner,
        *,
        timing: FollowTiming | None = None,
        reporter: Reporter | None = None,
        sleep: Sleep = asyncio.sleep,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._clients = clients
        self._reporter = reporter or Reporter(clients, clock, tasks)
        self._clock = clock
        self._tasks = tasks
        self._timing = timing or FollowTiming()
        self._sleep = sleep
        self._running: set[asyncio.Task[None]] = set()

    def carry_out(self, effect: Slow, post: Post) -> None:
        """Start the work; its outcome is posted later, never before this returns."""
        if isinstance(effect, StartLoad):
            self._start(self._load(effect.node, effect.request, post), f"load {effect.request.model_id}@{effect.node}")
        elif isinstance(effect, FetchEndpoint):
            self._start(self._fetch(effect.node, effect.model, post), f"endpoint {effect.model}@{effect.node}")
        elif isinstance(effect, UnloadModel):
            self._start(self._unload(effect, post), f"unload {effect.request.model_id}@{effect.node}")
        elif isinstance(effect, RestartHarness):
            self._start(self._restart(effect, post), f"restart {effect.harness}@{effect.node}")
        else:
            self._reporter.carry_out(effect, post)

    async def stop(self) -> None:
        """Give up whatever is running, without events."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._tasks.start(work, name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _fetch(self, node: str, model: str, post: Post) -> None:
        asked_s = self._clock.now_s()
        try:
            endpoint = await self._clients[node].endpoint(model)
        except NeuronRefused as exc:
            log.info("%s does not name an endpoint of %s: %s", node, model, exc.message)
            post(EndpointFailed(node, model, exc.neuron_code, exc.message))
        except CortexError as exc:
            log.info("%s cannot be asked for the endpoint of %s: %s", node, model, exc.message)
            post(EndpointFailed(node, model, exc.code, exc.message))
        except Exception as exc:  # a defect of ours: the dispatcher must not wait for an event that never comes
            log.exception("asking %s for the endpoint of %s", node, model)
            post(EndpointFailed(node, model, "internal_error", repr(exc)))
        else:
            post(EndpointFetched(node=node, model=model, endpoint=endpoint, asked_s=asked_s))

    async def _unload(self, effect: UnloadModel, post: Post) -> None:
        node, model = effect.node, effect.request.model_id
        code, message = await self._try(self._clients[node].unload(effect.request), f"unloading {model} on {node}")
        post(UnloadFinished(node=node, model=model, code=code, message=message))

    async def _restart(self, effect: RestartHarness, post: Post) -> None:
        node, harness = effect.node, effect.harness
        call = self._clients[node].restart(harness, effect.request)
        code, message = await self._try(call, f"restarting {harness} on {node}")
        post(RestartFinished(node=node, harness=harness, code=code, message=message))

    async def _try(self, call: Awaitable[object], what: str) -> tuple[str, str]:
        """Await a call; return the code and the words of what went wrong, both empty when nothing did."""
        log.info("%s", what)
        try:
            await call
        except NeuronRefused as exc:
            code, message = exc.neuron_code, exc.message
        except CortexError as exc:
            code, message = exc.code, exc.message
        except Exception as exc:  # as above
            log.exception("%s", what)
            return "internal_error", repr(exc)
        else:
            return "", ""
        log.warning("%s failed: %s", what, message)
        return code, message

    async def _load(self, node: str, request: LoadRequest, post: Post) -> None:
        model, started_s = request.model_id, self._clock.now_s()
        traced = self._traced_load(node, model)
        log.info("loading %s on %s", model, node, extra={"devices": request.devices})
        try:
            outcome = await self._load_and_follow(node, request, started_s)
        except Exception as exc:  # as above
            log.exception("loading %s on %s", model, node)
            outcome = LoadFailed(node=node, model=model, code="internal_error", message=repr(exc))
        took_s = self._clock.now_s() - started_s
        if isinstance(outcome, LoadFailed) and outcome.code in {CALLED_OFF, *CAPACITY_CODES}:
            log.info("%s is not loaded on %s for now: %s", model, node, outcome.message)
        elif isinstance(outcome, LoadFailed):
            log.warning("loading %s on %s failed after %.1f s: %s", model, node, took_s, outcome.message)
        else:
            log.info("loaded %s on %s in %.1f s", model, node, took_s)
        if traced is not None:
            traced.end(outcome.code if isinstance(outcome, LoadFailed) else "")
        work_for(NOTHING)  # what follows from the outcome is for others
        post(outcome)

    def _traced_load(self, node: str, model: str) -> Work | None:
        """Begin the span of a load, below whatever the load is for; what the neuron does goes below it."""
        if self._tracer is None:
            return None
        return begin_work(self._tracer, f"load {model}", "client", {"cortex.model": model, "cortex.node": node})

    async def _load_and_follow(self, node: str, request: LoadRequest, started_s: float) -> LoadSucceeded | LoadFailed:
        try:
            generation = await self._ask_for_load(node, request)
        except NeuronRefused as exc:
            return _refused(node, request, exc)
        except UpstreamUnreachable as exc:
            return _failed(node, request, "node_unreachable", f"the neuron cannot be asked: {exc.message}")
        except CortexError as exc:
            return _failed(node, request, exc.code, exc.message)
        return await self._follow(node, request, generation, started_s)

    async def _ask_for_load(self, node: str, request: LoadRequest) -> int:
        """Return the generation that the neuron promised, 0 when it did not say."""
        give_up_s = self._clock.now_s() + self._timing.starting_s
        looks_s = self._timing.first_look_s
        while True:
            try:
                return (await self._clients[node].load(request)).generation
            except (UpstreamTimeout, UpstreamBroken):
                return 0  # it may have been taken all the same: following tells
            except NeuronRefused as exc:
                if exc.neuron_code != "starting" or self._clock.now_s() >= give_up_s:
                    raise
            await self._sleep(looks_s)
            looks_s = min(self._timing.longest_look_s, looks_s * 2)

    async def _follow(
        self, node: str, request: LoadRequest, generation: int, started_s: float
    ) -> LoadSucceeded | LoadFailed:
        timing = self._timing
        looks_s, useful_s, unknown = timing.first_look_s, self._clock.now_s(), 0
        deadline = LoadDeadline(request.vram_mb or 0, timing.load_timeout_s, started_s)
        trouble = "it says nothing"
        while True:
            try:
                report = await self._look(node, request.model_id, generation)
                if report is not None and report.status == "loaded":
                    return await self._finish(node, report)
                if report is not None and report.status == "failed":
                    return _failed_report(node, request, report)
                if report is not None and generation and is_called_off(report):
                    return _failed(node, request, CALLED_OFF, "it was unloaded while it was being loaded")
                useful_s = self._clock.now_s()
                if report is not None:
                    deadline.note((report.progress or 0.0,), useful_s)
                unknown = unknown + 1 if report is None or report.status == "unloaded" else 0
            except CortexError as exc:
                trouble = exc.message
            now_s = self._clock.now_s()
            if unknown >= UNKNOWN_LOOKS:
                return _failed(node, request, "load_lost", "the neuron knows nothing of the load any more")
            if now_s - useful_s >= timing.silence_s:
                return _failed(node, request, "node_unreachable", f"the neuron cannot be followed: {trouble}")
            if not deadline.left_s(now_s):
                return _failed(node, request, "load_timeout", f"not loaded after {now_s - started_s:.0f} s")
            await self._sleep(looks_s)
            looks_s = min(timing.longest_look_s, looks_s * 1.5)

    async def _look(self, node: str, model: str, generation: int) -> InstanceReport | None:
        """Return what the neuron says of the model, None for nothing or for an earlier life than the promised one."""
        models = (await self._clients[node].models()).models
        report = next((report for report in models if report.id == model), None)
        return report if report is not None and report.generation >= generation else None

    async def _finish(self, node: str, report: InstanceReport) -> LoadSucceeded:
        asked_s = self._clock.now_s()
        endpoint = await self._clients[node].endpoint(report.id)
        return LoadSucceeded(
            node=node, model=report.id, endpoint=endpoint, asked_s=asked_s, parallel=report.parallel, report=report
        )


def is_called_off(report: InstanceReport) -> bool:
    """Tell whether somebody had a model unloaded that was being loaded."""
    return report.status in ("unloading", "unloaded") and report.unload_reason in CALLING_OFF


def _failed(node: str, request: LoadRequest, code: str, message: str) -> LoadFailed:
    return LoadFailed(node=node, model=request.model_id, code=code, message=message)


def _refused(node: str, request: LoadRequest, refusal: NeuronRefused) -> LoadFailed:
    need_mb = refusal.details.get("need_mb")
    return LoadFailed(
        node=node,
        model=request.model_id,
        code=_code_of(refusal),
        message=refusal.message,
        retry_in_s=_retry_in_s(refusal),
        need_mb=need_mb if isinstance(need_mb, int) else None,
    )


def _code_of(refusal: NeuronRefused) -> str:
    """Return why, by what follows from it: a model that keeps failing is not held up by others."""
    reason = refusal.details.get("reason")
    return "failing" if refusal.neuron_code == "held" and reason == "failing" else refusal.neuron_code


def _retry_in_s(refusal: NeuronRefused) -> float | None:
    told = refusal.details.get("retry_in_s")
    return float(told) if isinstance(told, int | float) and told >= 0 else None


def _failed_report(node: str, request: LoadRequest, report: InstanceReport) -> LoadFailed:
    said = report.error
    if said is None:
        return _failed(node, request, "load_failed", "the neuron gives no reason")
    return LoadFailed(node=node, model=request.model_id, code=said.code, message=said.message, log_tail=said.log_tail)

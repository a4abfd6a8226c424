"""``python -m bench.decision``: what the control plane's decisions cost, in a fleet of 1,000 nodes and 1,000 models.

A grant is a request that arrives and finishes at a model that is ready: the hot path of the dispatcher, without any
network. A plan is ``bench/planner.py``'s: where to load a model, and who goes for it, over the whole fleet.
"""

import statistics
import sys
import time
from collections.abc import Iterator

from bench import planner
from bench.table import markdown
from cortex.contract.instance import EndpointAnswer, InstanceReport
from cortex.contract.lease import HealthSample, LeaseAnswer, SampledDevice, SlotGrant
from cortex.contract.node import Device, Discovery, HarnessDetail
from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.effect import Grant, PostLeases
from cortex.fleet.event import EndpointFetched, LeasesAnswered, NodeDiscovered, PollDue, RequestArrived, RequestFinished

NODES = MODELS = 1000
ROUNDS = 20
REQUESTS = 2000
GRANT_GOAL_US = 20.0
SLOTS = 64


def main() -> int:
    """Print the section; the exit code is 1 when a goal is missed."""
    text = "\n".join(lines())
    print(text)
    return int("missed" in text)


def lines() -> list[str]:
    """Return the section of a report."""
    grant_us = granted_us()
    plan = max((row for row in planner.rows() if not row.has_news), key=lambda row: row.median_ms)
    head = ["decision", f"cost with {NODES:,} nodes and {MODELS:,} models", "goal"]
    rows = [
        ["a ready model is granted, and given back", f"{grant_us:.1f} us", _goal(grant_us, GRANT_GOAL_US, "us")],
        [
            f"a whole plan, in the worst fleet ({plan.fleet}, {plan.strategy})",
            f"{plan.median_ms:.2f} ms",
            _goal(plan.median_ms, planner.GOAL_MS, "ms"),
        ],
    ]
    return ["### Decisions", "", *markdown([head, *rows])]


def _goal(value: float, bound: float, unit: str) -> str:
    return f"at most {bound:.0f} {unit}: {'reached' if value <= bound else '**missed**'}"


def granted_us() -> float:
    """Return what a request costs the dispatcher from its arrival to its end, in microseconds of CPU."""
    dispatcher = _fleet()
    spent = list(_rounds(dispatcher))
    return statistics.median(spent)


def _rounds(dispatcher: Dispatcher) -> Iterator[float]:
    ticket = 0
    for _ in range(ROUNDS):
        begun_s = time.thread_time()
        for number in range(REQUESTS):
            ticket += 1
            (grant,) = dispatcher.handle(RequestArrived(ticket, f"org/model-{number % MODELS}", tokens=500), 10.0)
            assert isinstance(grant, Grant)
            dispatcher.handle(RequestFinished(ticket), 10.0)
        yield (time.thread_time() - begun_s) / REQUESTS * 1e6


def _fleet() -> Dispatcher:
    """Return a dispatcher that knows a ready replica of every model, each on its node."""
    profiles = [Profile(id=f"org/model-{at}", harness="llamacpp", vram_mb=8000) for at in range(MODELS)]
    dispatcher = Dispatcher([f"node-{at}" for at in range(NODES)], profiles)
    for at in range(NODES):
        node, model = f"node-{at}", f"org/model-{at}"
        dispatcher.handle(NodeDiscovered(node, _DISCOVERY), 0.0)
        _report(dispatcher, node, model, 1.0)
        endpoint = EndpointAnswer(url=f"http://{node}:8100", generation=1, slots=SLOTS)
        dispatcher.handle(EndpointFetched(node=node, model=model, endpoint=endpoint, asked_s=2.0), 2.0)
        _report(dispatcher, node, model, 3.0)
    return dispatcher


def _report(dispatcher: Dispatcher, node: str, model: str, now_s: float) -> None:
    """Have a node answer a report of leases, as its neuron does: the model is loaded, and all its slots are ours."""
    effects = dispatcher.handle(PollDue(node), now_s)
    posts = [effect.post for effect in effects if isinstance(effect, PostLeases)]
    report = InstanceReport(id=model, harness="llamacpp", status="loaded", devices=(0,), generation=1, parallel=SLOTS)
    answer = LeaseAnswer(
        start_id="life",
        event=1,
        ttl_s=30.0,
        cancel_settle_s=3.0,
        health=HealthSample(age_s=0.0, devices=(SampledDevice(index=0, strangers_mb=0),)),
        snapshot=True,
        models=(report,),
        slots=(SlotGrant(model_id=model, generation=1, slots=SLOTS),),
    )
    for post in posts:
        dispatcher.handle(LeasesAnswered(node=node, post=post, answer=answer, sent_s=now_s), now_s)


_DISCOVERY = Discovery(
    hostname="host",
    os="Linux",
    kernel="6",
    devices=(Device(index=0, name="GPU", vram_total_mb=24_000),),
    harnesses=("llamacpp",),
    harness_details=(HarnessDetail(name="llamacpp", kind="llamacpp", usable=True, device_kinds=("cuda",)),),
    headroom_mb=512,
)


if __name__ == "__main__":
    sys.exit(main())

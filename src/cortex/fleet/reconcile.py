"""How what a neuron says of a model changes the replica that this gateway keeps of it.

Two sources: the samples (``take_report``, ``take_absence``) and the endpoint (``take_endpoint``). A sample never
contradicts what was learnt after its question was sent. Both only change the model's replicas; the caller refreshes.
"""

import msgspec

from cortex.contract.instance import EndpointAnswer, InstanceReport
from cortex.fleet.model import Model
from cortex.fleet.replica import Replica


def take_report(
    model: Model,
    node: str,
    report: InstanceReport,
    *,
    asked_s: float,
    now_s: float,
    is_new_life: bool,
    is_news: bool,
    is_load_here: bool,
) -> bool:
    """Bring the replica on a node in line with a sample; return whether its endpoint must be asked for.

    ``is_new_life``: the neuron was restarted, so its word on the endpoint is wanted again, though requests run on
    meanwhile. ``is_news``: something has changed on the node since the last sample; where a server runs by itself that
    may be its place, which has no generation, because another one stands in for it. ``is_load_here``: a load of ours is
    under way there and will bring the endpoint itself.
    """
    replica = model.replicas.get(node)
    if replica is not None and (asked_s < replica.learnt_s or _is_overtaken(report, replica)):
        return False
    if report.status == "loaded":
        if replica is None or replica.generation != report.generation:
            replica = succeed(model, node, report.generation, now_s)
        replica.set_parallel(report.parallel)
        if replica.state == "draining":
            # A drain that was undone says nothing of a failure before it.
            replica.state = "pending" if replica.target is None else "suspected" if replica.is_suspect else "ready"
        wanted = is_new_life or replica.state != "ready" or (is_news and not report.generation)
        if not wanted or replica.is_fetching or is_load_here:
            return False
        replica.is_fetching = True
        return True
    if replica is not None and report.status in ("draining", "unloading") and report.generation == replica.generation:
        replica.state = "draining"
    else:
        model.drop(node)
    return False


def _is_overtaken(report: InstanceReport, replica: Replica) -> bool:
    """Tell whether a report is of a time before the place was named: a generation is loaded once only."""
    if not report.generation or report.generation > replica.generation:
        return False
    is_before = report.status == "loading" and replica.target is not None
    return report.generation < replica.generation or is_before


def take_absence(model: Model, node: str, *, asked_s: float) -> None:
    """Take in that a sample does not list the model at all."""
    replica = model.replicas.get(node)
    if replica is not None and asked_s >= replica.learnt_s:
        model.drop(node)


def take_endpoint(replica: Replica, model: Model, endpoint: EndpointAnswer, *, asked_s: float, now_s: float) -> bool:
    """Make a replica ready for the endpoint that its neuron named; return whether to ask once more.

    Asked before the last failure, it proves nothing. Of an older generation, it is late. The same endpoint keeps its
    target (and its rest after a failure); another one is another life, with a target of its own.
    """
    replica.is_fetching = False
    if replica.is_suspect and asked_s < replica.struck_s:
        replica.is_fetching = True
        return True
    # A neuron that does not number its endpoints means the generation that it listed.
    if not endpoint.generation:
        endpoint = msgspec.structs.replace(endpoint, generation=replica.generation)
    if endpoint.generation < replica.generation:
        return False
    if replica.target is not None and not replica.matches(endpoint):
        parallel = replica.parallel
        replica = succeed(model, replica.node, endpoint.generation, now_s)
        replica.set_parallel(parallel)
    if replica.target is None:
        replica.aim(endpoint)
    replica.learnt_s = now_s
    replica.is_suspect = False
    if replica.state != "draining":
        replica.state = "ready"
    return False


def succeed(model: Model, node: str, generation: int, now_s: float) -> Replica:
    """Put a new generation in the place of whatever the model had on a node."""
    model.drop(node)
    replica = model.replicas[node] = Replica(model.id, node, generation, now_s)
    return replica

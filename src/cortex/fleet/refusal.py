"""The sentences and details of refusals: from what is known of the fleet to an error that says what to do.

Builds values; decides nothing.
"""

from collections.abc import Iterable, Mapping
from math import ceil

from cortex.contract import error
from cortex.fleet.load_book import Failure
from cortex.fleet.outlook import Outlook, details_of, in_words
from cortex.fleet.placement import PASSING, UNSEEN, Placements
from cortex.fleet.view import NodeView

_SEE_TO_IT = "Try again; if it stays so, have the operator see that cortex-neuron runs there and can be reached."
_CHECK_IT = "Try again; if it stays so, have the operator see there what 'cortex-neuron check' says."


def no_healthy_node(nodes: Iterable[NodeView]) -> error.CortexError:
    """Return the refusal for a fleet in which nobody answers."""
    nodes = tuple(nodes)
    if not nodes:
        return error.NoHealthyNode("No node is configured: add [[neurons]] with name and endpoint to cortex.toml.")
    reasons = "; ".join(f"{node.name}: {node.why or 'unknown'}" for node in nodes)
    message = f"No node is healthy ({reasons}). {_SEE_TO_IT}"
    return error.NoHealthyNode(message, nodes={node.name: node.why for node in nodes})


def nobody_yet(model: str, placements: Placements) -> error.CortexError:
    """Return the refusal for a model that only nodes could serve that are absent, or not as they should be."""
    reasons = {rejection.node: rejection.reason for rejection in placements.rejected}
    passing = [rejection for rejection in placements.rejected if rejection.code in PASSING]
    able = "; ".join(f"{rejection.node} {rejection.reason}" for rejection in passing or placements.rejected)
    advice = _SEE_TO_IT if any(rejection.code in UNSEEN for rejection in passing) else _CHECK_IT
    message = f"No healthy node can serve '{model}' now: {able}. {advice}"
    return error.NoHealthyNode(message, model=model, nodes=reasons)


def never_fits(model: str, placements: Placements) -> error.CortexError:
    """Return the refusal for a model that no node of this fleet can ever serve, with what each node lacks."""
    reasons = {rejection.node: rejection.reason for rejection in placements.rejected}
    each = "; ".join(f"{node}: {reason}" for node, reason in reasons.items())
    return error.ModelNotFound(f"No node of this fleet can serve '{model}': {each}.", model=model, nodes=reasons)


def vanished(model: str) -> error.CortexError:
    """Return the refusal for a model that was only ever known from a node, and is gone from there."""
    message = f"No node reports '{model}' any more, and the catalogue does not know it. GET /v1/models lists the ids."
    return error.ModelNotFound(message, model=model)


def load_failed(failure: Failure, retry_in_s: float) -> error.CortexError:
    """Return the refusal that passes on why the last load failed, in the engine's own words."""
    return error.LoadFailed(
        f"'{failure.model}' could not be loaded on {failure.node}: {failure.message}",
        model=failure.model,
        node=failure.node,
        cause=failure.code,
        log_tail=list(failure.log_tail),
        failures_in_a_row=failure.count,
        retry_in_s=round(retry_in_s, 1),
    )


def still_waiting(model: str, outlook: Outlook, waited_s: float) -> error.CortexError:
    """Return the refusal for a request whose patience ended before its model was there, with all that is known."""
    known = details_of(outlook)
    if outlook.eta_s is not None:
        known["retry_in_s"] = known["eta_s"]
    message = f"'{model}' is not there yet ({in_words(outlook)}); this request waited {waited_s:.0f} s. Try again."
    return error.ModelLoading(message, model=model, waited_s=round(waited_s, 1), **known)


def queue_full(model: str, why: str, waiting: int) -> error.CortexError:
    """Return the refusal for a request that may not even wait; ``why`` as ``Queue.refusal_for`` has it."""
    if why == "caller_full":
        message = f"You have as many requests waiting for '{model}' as one caller may have. Let some finish first."
        return error.TooManyRequests(message, model=model)
    message = f"{waiting} requests wait for '{model}' already, and more are not taken. Try again."
    return error.QueueFull(message, model=model, state="queued", waiting=waiting)


def no_room(model: str, obstacles: Mapping[str, str]) -> error.CortexError:
    """Return the refusal for a model for which no room can be made now, with what is in the way on each node."""
    each = "; ".join(f"{node}: {reason}" for node, reason in obstacles.items())
    return error.NoRoom(
        f"No node has room for '{model}', and none can be made now: {each}.", model=model, nodes=dict(obstacles)
    )


def all_in_maintenance(model: str, nodes: Iterable[str]) -> error.CortexError:
    """Return the refusal for a model that only nodes could serve that an operator has taken out."""
    reasons = dict.fromkeys(nodes, "is in maintenance: nothing new is loaded there")
    message = f"No node may load '{model}' now: {', '.join(reasons)} in maintenance, which 'cortex undrain' ends."
    return error.NoHealthyNode(message, model=model, nodes=reasons)


def no_slot(model: str, waited_s: float) -> error.CortexError:
    """Return the refusal for a request that found every slot of a loaded model taken."""
    return error.CapacityError(
        f"Every slot of '{model}' was busy for {waited_s:.0f} s. Try again.",
        model=model,
        state="busy",
        waited_s=round(waited_s, 1),
    )


def no_load(model: str, retry_in_s: float) -> error.CortexError:
    """Return the refusal for a request whose key may cause no more loads, of a model that no node has loaded."""
    return error.QuotaExhausted(
        f"No node has '{model}' loaded, and the key has caused as many loads as it may in a day (cold_starts_per_day). "
        f"Ask for a model that is loaded, or try again in {ceil(retry_in_s)} s.",
        model=model,
        limit="cold_starts_per_day",
        retry_in_s=round(retry_in_s, 3),
    )


def all_tried(model: str) -> error.CortexError:
    """Return the refusal for a request for which no instance is left: each failed it, or others so often just before
    that it is let rest (then this one was sent nowhere)."""
    message = (
        f"No instance of '{model}' is fit for use: each failed this request or those just before it, and none can be "
        "added now. Try again."
    )
    return error.UpstreamUnreachable(message, model=model)

"""One request as it is now, for whoever looks at all that run. Made when somebody looks, of what is there anyhow."""

from typing import NamedTuple

from cortex.contract.activity import RequestState, RunningRequest
from cortex.gateway.data.answering import Answering
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.outgoing import Outgoing
from cortex.gateway.data.places import Places
from cortex.gateway.data.plane import Plane
from cortex.gateway.data.route import InferenceRoute


class Seen(NamedTuple):
    """The parts of a request."""

    request_id: bytes
    route: InferenceRoute
    exchange: Exchange
    outgoing: Outgoing
    places: Places
    answering: Answering


def running_request(
    plane: Plane, seen: Seen, arrived_s: float, *, is_waiting: bool
) -> tuple[RunningRequest, int | None]:
    """Return one request, and its ticket; of one that waits what it waits for is not said here."""
    key, places, tap = seen.exchange.key, seen.places, seen.answering.tap
    first_s = tap.first_content_s if tap is not None else None
    usage = seen.answering.read_usage() if first_s is not None else None
    state: RequestState = "waiting" if is_waiting else "sent" if first_s is None else "streaming"
    request = RunningRequest(
        request_id=seen.request_id.decode("ascii"),
        operation=seen.route.operation,
        model=seen.outgoing.model if is_waiting else places.model,
        node="" if is_waiting else places.node,
        caller=seen.exchange.client if key is None else key.id,
        key="" if key is None else key.name,
        state=state,
        started_epoch_s=round(plane.epoch_s(arrived_s), 3),
        for_s=round(plane.now_s() - arrived_s, 3),
        stream=seen.outgoing.is_stream,
        attempts=places.count,
        cold_start=places.is_cold,
        first_token_s=None if first_s is None else round(first_s - arrived_s, 4),
        completion_tokens=None if usage is None else usage.completion_tokens,
    )
    return request, places.ticket

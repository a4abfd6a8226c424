"""What is told of a neuron's work in spans: loads, with their parts, and relays. Only where spans are wished.

    load                              server: until it is known whether the model serves
        prepare                       file found or fetched, need estimated
        drain victims, evict          those who go for it, until their memory is free
        start engine, ready           the process, and until it answers
    relay                             server: one request through the neuron's own port

Whether they are recorded is the caller's to say; of loads that nobody traces the share that is wished.
"""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from cortex.contract.instance import RELAY_PREFIX, LoadRequest
from cortex.kit.cause import Cause, cause_of_now, valid_request_id
from cortex.kit.trace_context import read_context
from cortex.kit.tracer import Tracer
from cortex.kit.work import Work, begin_work, leave_work
from cortex.neuron.instance import Instance

Scope = MutableMapping[str, Any]

MAX_PATH = 100
_OWN = frozenset((b"traceparent", b"tracestate"))


def cause_in(headers: list[tuple[bytes, bytes]]) -> Cause:
    """Return what a call says that it is for; names are in lower case."""
    given = next((value for name, value in headers if name == b"x-request-id"), None)
    request_id = valid_request_id(given) or b""
    return Cause(request_id.decode("ascii"), read_context(headers))


@contextmanager
def traced_load(tracer: Tracer | None, wanted: LoadRequest) -> Iterator[None]:
    """The block asks for a load: its span ends with the block, unless a life has begun, which ends it."""
    if tracer is None:
        yield
        return
    work = begin_work(tracer, "load", "server", {"cortex.model": wanted.model_id, "cortex.harness": wanted.harness})
    try:
        yield
    except BaseException as error:
        work.end(_kind_of(error))
        raise
    if not work.is_handed_on:
        work.end(attributes={"cortex.joined": True})


@contextmanager
def coming_up(work: Work | None, instance: Instance) -> Iterator[None]:
    """The block brings an engine up, or not; what the task does after it is done for nobody in particular."""
    try:
        yield
    except BaseException as error:
        if work is not None:
            work.end(_kind_of(error))
        raise
    finally:
        if work is not None:
            launch = instance.launch
            known = {} if launch is None else {"cortex.generation": launch.generation}
            work.end(_outcome(instance), dict(known))
        leave_work()


@contextmanager
def traced_relay(tracer: Tracer | None, scope: Scope) -> Iterator[Work | None]:
    """The block relays a request that its caller traces; what the engine does goes below it.

    No path with its nonce is told: whoever knows it may use it.
    """
    parent = cause_of_now().context
    if tracer is None or parent is None or not parent.is_sampled:
        yield None
        return
    rest = scope["path"].removeprefix(RELAY_PREFIX).partition("/")[2]
    about: dict[str, str | int | float | bool] = {
        "http.request.method": scope["method"],
        "http.route": f"{RELAY_PREFIX}{{nonce}}/{rest[:MAX_PATH]}",
    }
    work = begin_work(tracer, "relay", "server", about)
    own = [(b"traceparent", work.context.traceparent)]
    if work.context.state:
        own.append((b"tracestate", work.context.state))
    scope["headers"] = [*(pair for pair in scope["headers"] if pair[0] not in _OWN), *own]
    try:
        yield work
    except BaseException as error:
        work.end(_kind_of(error))
        raise
    work.end()


def _outcome(instance: Instance) -> str:
    """Return what a load ended with, empty where the model serves."""
    if instance.status == "loaded":
        return ""
    return instance.error.code if instance.error is not None else "called_off"


def _kind_of(error: BaseException) -> str:
    return str(getattr(error, "code", None) or type(error).__name__)

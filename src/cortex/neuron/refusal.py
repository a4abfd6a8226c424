"""What a neuron says no with: the neuron's part of the tree of errors. Status codes live in ``edge_error.py``."""

from cortex.contract.error import CallerError, CapacityError, UpstreamError
from cortex.contract.lease import DOUBLE_GATEWAY


class UnknownHarness(CallerError):
    """There is no harness of this name or kind on this node."""

    code = "unknown_harness"


class HarnessUnusable(CallerError):
    """The harness cannot be used on this node."""

    code = "harness_unusable"


class NoSuchDevice(CallerError):
    """This node has no such device."""

    code = "no_such_device"


class SourceMissing(CallerError):
    """The model's file was not found."""

    code = "source_missing"


class LoadedDifferently(CallerError):
    """The model is loaded in another way than asked for: unload it first."""

    code = "loaded_differently"


class NotManaged(CallerError):
    """The engine runs by itself; this neuron only lists and relays to it."""

    code = "not_managed"


class NotOffered(CallerError):
    """The running server does not offer this."""

    code = "not_offered"


class Unauthorized(CallerError):
    """A valid credential is required: Authorization: Bearer <token>."""

    code = "unauthorized"


class NoRoom(CapacityError):
    """There is not enough free memory on the devices."""

    code = "no_room"


class Busy(CapacityError):
    """The model is busy."""

    code = "busy"


class Held(CapacityError):
    """It is not to be done yet."""

    code = "held"


class Stale(CapacityError):
    """What the call goes by is out of date: look again."""

    code = "stale"


class Maintenance(CapacityError):
    """This node is in maintenance: nothing new is loaded here until POST /maintenance says that it is over."""

    code = "maintenance"


class NotLoaded(CapacityError):
    """The model is not loaded."""

    code = "not_loaded"


class TooManyGateways(CapacityError):
    """No more gateways are taken in for now."""

    code = "too_many_gateways"


class DoubleGateway(CapacityError):
    """Another gateway goes by the same gateway_id."""

    code = DOUBLE_GATEWAY


class SystemdRefused(UpstreamError):
    """systemd did not do what it was asked for."""

    code = "systemd_refused"


class GenerationGone(CapacityError):
    """This endpoint belonged to an engine that is gone: ask for the endpoint again."""

    code = "generation_gone"


class Starting(CapacityError):
    """The neuron is still starting."""

    code = "starting"

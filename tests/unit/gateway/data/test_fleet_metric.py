"""The fleet as metrics show it, from pictures of a dispatcher's books."""

from tests.unit.fleet.builder import Fleet, a_profile, a_report

from cortex import __version__
from cortex.contract.instance import EndpointAnswer
from cortex.contract.node import Device, Discovery, Health
from cortex.contract.version import minors_apart
from cortex.fleet.event import EndpointFetched, LoadFailed, NodeDiscovered, NodeLost, NodeSampled, RequestArrived
from cortex.gateway.data.fleet_metric import fleet_metrics, idle_places


def shown(fleet: Fleet) -> dict[str, dict[tuple[str, ...], float]]:
    """Return value by labels of every metric."""
    view = fleet.dispatcher.view(fleet.now_s)
    return {
        metric.name: {tuple(sample.labels.values()): sample.value for sample in metric.samples}
        for metric in fleet_metrics(view)
    }


def test_every_configured_node_is_shown_whether_it_answers_or_not() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    fleet.sample("a")
    fleet.tell(NodeLost("b", "connection refused"))
    assert shown(fleet)["cortex_node_healthy"] == {("a",): 1, ("b",): 0}


def test_a_nodes_devices_versions_and_troubles_are_shown_as_it_told_them() -> None:
    fleet = Fleet(["a", "b"], [a_profile()], is_up=False)
    devices = tuple(Device(index=n, name="G", vram_total_mb=1) for n in range(2))
    cpu = Device(index=2, name="CPU", vram_total_mb=1, kind="cpu")
    told = Discovery(
        hostname="a", os="l", kernel="k", devices=(*devices, cpu), neuron_version="1.2", driver_version="595",
        troubles=("a GPU has fallen off the bus",),
    )  # fmt: skip
    fleet.tell(NodeDiscovered("a", told))
    found = shown(fleet)
    assert found["cortex_node_version_skew"] == {("a",): minors_apart("1.2", __version__)}
    assert found["cortex_node_devices"] == {("a", "cuda"): 2, ("a", "cpu"): 1}
    assert found["cortex_node_info"] == {("a", "1.2", "595"): 1}
    assert found["cortex_node_troubles"] == {("a",): 2, ("b",): 0}, "its own, and its version"


def test_what_is_not_known_of_a_node_is_missing_and_not_0() -> None:
    found = shown(Fleet(["a"], [a_profile()], is_up=False))
    known = ("stale", "maintenance", "devices", "info", "version_skew")
    for name in (f"cortex_node_{of}" for of in known):
        assert found[name] == {}, name


def test_a_stale_sample_and_maintenance_are_shown() -> None:
    fleet = Fleet(["a"], [a_profile()])
    health = Health(uptime_secs=1, stale=True, maintenance=True)
    fleet.tell(NodeSampled(node="a", health=health, models=(), asked_s=fleet.now_s))
    found = shown(fleet)
    assert found["cortex_node_stale"] == {("a",): 1}
    assert found["cortex_node_maintenance"] == {("a",): 1}


def test_a_model_has_as_many_ready_replicas_as_places_where_it_can_be_used() -> None:
    fleet = Fleet(["a", "b"], [a_profile("m"), a_profile("n")])
    for node in ("a", "b"):
        fleet.sample(node, a_report("m"))
        endpoint = EndpointAnswer(url="http://x:1", generation=1)
        fleet.tell(EndpointFetched(node=node, model="m", endpoint=endpoint, asked_s=fleet.now_s))
    assert shown(fleet)["cortex_model_ready_replicas"] == {("m",): 2, ("n",): 0}


def test_a_place_without_requests_has_0_of_them() -> None:
    fleet = Fleet(["a", "b"], [a_profile("m"), a_profile("n")])
    fleet.sample("b", a_report("m"))
    fleet.fetched("b")
    assert idle_places(fleet.dispatcher.view(fleet.now_s)) == {("m", "b"): 0}


def test_who_waits_and_where_loads_fail_is_shown_by_model() -> None:
    fleet = Fleet(["a"], [a_profile("m")])
    fleet.tell(RequestArrived(1, "m"))
    found = shown(fleet)
    assert found["cortex_model_requests_waiting"] == {("m",): 1}
    assert found["cortex_model_failing"] == {}
    fleet.tell(LoadFailed(node="a", model="m", code="engine_failed", message="it crashed"))
    assert shown(fleet)["cortex_model_failing"] == {("m", "a"): 1}
    fleet.tell(LoadFailed(node="a", model="m", code="engine_failed", message="it crashed again"))
    assert shown(fleet)["cortex_model_failing"] == {("m", "a"): 2}


def test_models_that_only_callers_made_up_are_not_shown() -> None:
    fleet = Fleet(["a"], [a_profile("m")])
    fleet.sample("a")
    for ticket in range(20):
        fleet.tell(RequestArrived(ticket, f"made/up-{ticket}"))
    assert {labels[0] for metric in ("cortex_model_ready_replicas", "cortex_model_requests_waiting")
            for labels in shown(fleet)[metric]} == {"m"}  # fmt: skip

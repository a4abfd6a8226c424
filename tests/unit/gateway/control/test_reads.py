"""What the front door is told of the fleet."""

from tests.unit.fleet.builder import Fleet, a_profile, a_report

from cortex.contract.instance import EndpointAnswer
from cortex.contract.node import DeviceReading, Health
from cortex.fleet.event import EndpointFetched, NodeLost, NodeSampled, RequestArrived, TargetSuspected
from cortex.gateway.control.reads import FleetReader
from cortex.testing.virtual_clock import VirtualClock


def reader(fleet: Fleet) -> FleetReader:
    return FleetReader(fleet.dispatcher, VirtualClock(fleet.now_s))


def nodes_of(health: dict[str, object]) -> list[dict[str, object]]:
    nodes = health["nodes"]
    assert isinstance(nodes, list)
    return nodes


def test_catalogue_model_is_listed_when_it_is_nowhere() -> None:
    profile = a_profile("m", aliases=("gpt",), context=4096, capabilities=("vision",))
    assert reader(Fleet(["a"], [profile])).model_entries() == [
        {
            "id": "m",
            "status": "unloaded",
            "nodes": [],
            "context": 4096,
            "aliases": ["gpt"],
            "capabilities": ["vision"],
            "harness": "llamacpp",
        }
    ]


def test_status_is_the_best_of_all_nodes_and_each_node_has_its_own() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    fleet.sample("a", a_report(status="failed"))
    fleet.sample("b", a_report(status="loaded", devices=(0, 1)))
    (entry,) = reader(fleet).model_entries()
    assert entry["status"] == "loaded"
    assert entry["nodes"] == [
        {"node": "a", "status": "failed", "devices": []},
        {"node": "b", "status": "loaded", "devices": [0, 1]},
    ]


def test_load_that_was_just_asked_for_is_shown_as_loading() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.tell(RequestArrived(1, "m"))
    (entry,) = reader(fleet).model_entries()
    assert (entry["status"], entry["nodes"]) == ("loading", [{"node": "a", "status": "loading", "devices": []}])


def test_models_are_sorted_and_those_found_on_nodes_are_among_them() -> None:
    fleet = Fleet(["a"], [a_profile("m"), a_profile("c")])
    fleet.sample("a", a_report("found", devices=(0,)))
    entries = reader(fleet).model_entries()
    assert [entry["id"] for entry in entries] == ["c", "found", "m"]
    assert (entries[1]["harness"], entries[1]["context"], entries[1]["aliases"]) == ("llamacpp", None, [])


def test_a_context_that_the_catalogue_does_not_name_is_the_least_of_where_the_model_is() -> None:
    fleet = Fleet(["a", "b"], [a_profile("m"), a_profile("c", context=512)])
    for node, context in (("a", 8192), ("b", 4096)):
        fleet.now_s += 1
        fleet.sample(node, a_report("m"), a_report("c"))
        for model in ("m", "c"):
            answer = EndpointAnswer(url=f"http://{node}", generation=1, context=context)
            fleet.tell(EndpointFetched(node=node, model=model, endpoint=answer, asked_s=fleet.now_s))
    assert {entry["id"]: entry["context"] for entry in reader(fleet).model_entries()} == {"c": 512, "m": 4096}


def test_lost_node_shows_only_what_is_still_served() -> None:
    fleet = Fleet(["a"], [a_profile("m"), a_profile("n")])
    target = fleet.ready("a", "m")
    fleet.sample("a", a_report("m"), a_report("n", "failed"))
    fleet.tell(NodeLost("a", "timed out"))
    by_id = {entry["id"]: entry["nodes"] for entry in reader(fleet).model_entries()}
    assert by_id == {"m": [{"node": "a", "status": "loaded", "devices": []}], "n": []}
    fleet.tell(TargetSuspected(target, "unreachable"))
    assert [entry["nodes"] for entry in reader(fleet).model_entries()] == [[], []]


def test_health_is_ok_degraded_or_down() -> None:
    fleet = Fleet(["a", "b"])
    fleet.sample("a", a_report("x"), a_report("y", "loading"))
    said = reader(fleet).health()
    assert said["status"] == "ok"
    assert [(node["name"], node["healthy"], node["why"], node["models"]) for node in nodes_of(said)] == [
        ("a", True, "", ["x"]),
        ("b", True, "", []),
    ]
    fleet.lost("a", "timed out")
    assert reader(fleet).health()["status"] == "degraded"
    fleet.lost("b")
    assert reader(fleet).health()["status"] == "down"
    assert reader(Fleet([])).health() == {"status": "down", "nodes": []}


def test_devices_are_shown_with_their_last_readings_and_without_where_there_is_none() -> None:
    fleet = Fleet(["a", "b"], vram_mb=(24_000,))
    reading = DeviceReading(index=0, vram_used_mb=9000, utilization_pct=12.0)
    fleet.tell(
        NodeSampled(node="a", health=Health(uptime_secs=1, devices=(reading,)), models=(), asked_s=fleet.now_s, event=9)
    )
    device = {"index": 0, "name": "GPU", "vram_total_mb": 24_000}
    assert [node["devices"] for node in nodes_of(reader(fleet).health())] == [
        [{**device, "vram_used_mb": 9000, "utilization_pct": 12.0}],
        [{**device, "vram_used_mb": None, "utilization_pct": None}],
    ]


def test_every_configured_node_has_a_state() -> None:
    fleet = Fleet(["a", "b", "c"], is_up=False)
    assert reader(fleet).node_states() == [("a", False), ("b", False), ("c", False)]
    fleet.sample("a")
    fleet.sample("b")
    assert reader(fleet).node_states() == [("a", True), ("b", True), ("c", False)]
    fleet.lost("a", "timed out")
    assert reader(fleet).node_states() == [("a", False), ("b", True), ("c", False)]


def test_ready_means_that_every_neuron_was_tried_once() -> None:
    fleet = Fleet(["a", "b"], is_up=False)
    assert not reader(fleet).is_ready()
    fleet.sample("a")
    assert not reader(fleet).is_ready()
    fleet.lost("b")
    assert reader(fleet).is_ready()

"""Decisions as counters and histograms."""

from prometheus_client.core import Metric

from cortex.contract.admin import CallerEntry
from cortex.fleet.decision import DecisionLog
from cortex.gateway.data.decision_metric import MAX_CODES, DecisionMetrics

AGENT = CallerEntry(caller="agent", loads=2, failures=1, evictions=3, loading_s=4.5, cold_starts=6)


class Books:
    def __init__(self) -> None:
        self.metrics = DecisionMetrics(lambda: [AGENT])
        self.log = DecisionLog()
        self.log.watch(self.metrics.count)

    def note(self, kind: str, model: str = "m", node: str = "n", **details: object) -> None:
        self.log.note(kind, "r", now_s=0.0, model=model, node=node, **details)  # type: ignore[arg-type]

    def family(self, name: str) -> Metric:
        (family,) = (family for family in self.metrics.collect() if family.name == name)
        return family

    def samples(self, name: str, suffix: str = "_total") -> dict[tuple[str, ...], float]:
        found = self.family(name).samples
        return {tuple(sample.labels.values()): sample.value for sample in found if sample.name == name + suffix}


def test_loads_are_counted_by_how_they_ended() -> None:
    books = Books()
    books.note("placement")
    books.note("load", took_s=12.0)
    books.note("failure", code="x")
    books.note("deferral", code="busy")
    books.note("failure", model="", code="restart")
    assert books.samples("cortex_loads") == {("m", "n", "loaded"): 1, ("m", "n", "failed"): 1, ("m", "n", "put_off"): 1}
    assert books.samples("cortex_load_seconds", "_sum") == {("m", "n"): 12.0}


def test_waits_for_a_load_and_for_a_slot_are_told_apart() -> None:
    books = Books()
    books.note("grant-cold", waited_s=40.0)
    books.log.count("grant-queued", now_s=0.0, model="m", node="n", waited_s=0.2)
    assert books.samples("cortex_cold_start_seconds", "_sum") == {("m", "n"): 40.0}
    assert books.samples("cortex_queue_wait_seconds", "_sum") == {("m", "n"): 0.2}


def test_every_refusal_of_a_storm_is_counted() -> None:
    books = Books()
    for _ in range(100):
        books.note("refusal", code="no_capacity")
    assert books.samples("cortex_refusals") == {("m", "no_capacity"): 100}


def test_loads_that_failed_are_counted_by_their_cause() -> None:
    books = Books()
    books.note("failure", code="out_of_memory")
    books.note("failure", code="out_of_memory")
    books.note("failure", code="engine_killed")
    books.note("deferral", code="busy")
    assert books.samples("cortex_load_failures") == {
        ("m", "n", "out_of_memory"): 2,
        ("m", "n", "engine_killed"): 1,
    }


def test_unloads_are_counted_by_why_or_by_who_wanted_them() -> None:
    books = Books()
    books.note("unload", why="idle")
    books.note("unload", caller="operator")
    assert books.samples("cortex_unloads") == {("m", "n", "idle"): 1, ("m", "n", "operator"): 1}


def test_a_node_that_makes_up_codes_fills_no_memory() -> None:
    books = Books()
    books.note("failure", code="out_of_memory")
    for number in range(10 * MAX_CODES):
        books.note("failure", code=f"made_up_{number}")
    books.note("failure", code="no such\ncode")
    books.note("failure", code="x" * 1000)
    books.note("failure", code="out_of_memory")
    causes = books.samples("cortex_load_failures")
    assert len(causes) == MAX_CODES + 1
    assert causes["m", "n", "out_of_memory"] == 2
    assert sum(causes.values()) == 10 * MAX_CODES + 4


def test_evictions_are_counted_by_reason() -> None:
    books = Books()
    books.note("eviction", why="room", by="other")
    assert books.samples("cortex_evictions") == {("m", "n", "room"): 1}


def test_bounds_fit_cold_starts() -> None:
    books = Books()
    books.note("grant-cold", waited_s=700.0)
    buckets = [s for s in books.family("cortex_cold_start_seconds").samples if s.name.endswith("_bucket")]
    assert sum(sample.value for sample in buckets) == 2, "of 700 s the last two buckets tell"


def test_callers_costs_are_shown() -> None:
    books = Books()
    assert books.samples("cortex_caller_loads") == {("agent",): 2}
    assert books.samples("cortex_caller_evictions") == {("agent",): 3}
    assert books.samples("cortex_caller_loading_seconds") == {("agent",): 4.5}


def test_a_decision_without_figures_is_no_fault() -> None:
    books = Books()
    books.note("load", took_s=None)
    books.note("grant-cold")
    assert books.samples("cortex_load_seconds", "_sum") == {("m", "n"): 0.0}

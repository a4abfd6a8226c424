"""Which decisions explain a request, and how long they are remembered."""

from cortex.fleet.cause import MAX_REMEMBERED, Causes
from cortex.fleet.decision import DecisionLog


def watched() -> tuple[DecisionLog, Causes]:
    log, causes = DecisionLog(), Causes()
    log.watch(causes.note)
    return log, causes


def test_a_load_is_explained_by_its_placement_and_then_by_how_long_it_took() -> None:
    log, causes = watched()
    log.note("placement", "fits free memory", now_s=1.0, model="m", node="beast", caller="alice", evicts=["old"])
    cause = causes.of_load("m", "beast")
    assert cause is not None
    assert (cause.number, cause.reason, cause.node, cause.caller) == (1, "fits free memory", "beast", "alice")
    assert (cause.evicts, cause.load_s) == (("old",), None)
    assert causes.last("m") == cause
    log.note("load", "it is loaded", now_s=5.0, model="m", node="beast", took_s=4.00049)
    done = causes.of_load("m", "beast")
    assert done is not None
    assert (done.load_s, done.number) == (4.0, 1)
    assert causes.last("m") == done


def test_what_is_in_the_way_is_told_until_the_model_is_loaded_or_serves() -> None:
    log, causes = watched()
    for now_s, end in ((1.0, "load"), (10.0, "grant-cold")):
        log.note("deferral", "the node has no room yet", now_s=now_s, model="m", node="beast")
        last = causes.last("m")
        assert last is not None
        assert last.reason == "the node has no room yet"
        log.note(end, "it is loaded", now_s=now_s, model="m", node="benjy")  # type: ignore[arg-type]
        assert causes.last("m") is None


def test_a_failure_is_the_last_word_of_a_model_and_no_cause_of_a_load() -> None:
    log, causes = watched()
    log.note("failure", "it ran out of memory", now_s=1.0, model="m", node="beast", code="load_failed")
    last = causes.last("m")
    assert last is not None
    assert (last.kind, last.reason) == ("failure", "it ran out of memory")
    assert causes.of_load("m", "beast") is None


def test_of_other_models_nodes_and_kinds_nothing_is_said() -> None:
    log, causes = watched()
    log.note("placement", "why", now_s=1.0, model="m", node="beast")
    log.note("pin", "an operator wants it", now_s=1.0, model="n", node="beast")
    assert causes.of_load("m", "benjy") is None
    assert causes.of_load("n", "beast") is None
    assert causes.last("n") is None


def test_what_has_been_quiet_longest_is_forgotten() -> None:
    log, causes = watched()
    for number in range(MAX_REMEMBERED + 1):
        log.note("placement", "why", now_s=1.0, model=f"m{number}", node="beast")
    assert causes.of_load("m0", "beast") is None
    assert causes.last("m0") is None
    assert causes.of_load("m1", "beast") is not None
    assert causes.last(f"m{MAX_REMEMBERED}") is not None

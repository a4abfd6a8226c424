"""Which decisions get a line in the log, and at which level."""

import logging

import pytest

from cortex.fleet.decision import DecisionLog
from cortex.gateway.control.decision_line import tell


@pytest.mark.parametrize(
    ("kind", "caller", "line"),
    [
        ("eviction", "agent", (logging.WARNING, "m was evicted from n: because, asked for by agent")),
        ("eviction", "", (logging.WARNING, "m was evicted from n: because")),
        ("unload", "operator", (logging.INFO, "unload of m on n: because")),
        ("unload", "steward", (logging.INFO, "steward: unload of m on n: because")),
        ("placement", "steward", (logging.INFO, "steward: load of m on n: because")),
        ("restart", "steward", (logging.WARNING, "steward: restart of m on n: because")),
        ("failure", "steward", None),
        ("placement", "agent", None),
        ("refusal", "agent", None),
    ],
)
def test_evictions_what_operators_do_and_why_a_steward_acts_is_told(
    kind: str, caller: str, line: tuple[int, str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    log = DecisionLog()
    log.watch(tell)
    with caplog.at_level(logging.DEBUG):
        log.note(kind, "because", now_s=0.0, model="m", node="n", caller=caller)  # type: ignore[arg-type]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == ([line] if line else [])


def test_a_node_without_a_model_is_told_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    log = DecisionLog()
    log.watch(tell)
    with caplog.at_level(logging.INFO):
        log.note("maintenance", "an operator takes it out", now_s=0.0, node="n", caller="operator")
    assert caplog.messages == ["maintenance of n: an operator takes it out"]

"""Every error of ours has a status and a body, the more special class before the more general."""

import pytest

from cortex.contract import error as contract_error
from cortex.contract.error import CortexError, ModelNotFound, UpstreamBroken, UpstreamTimeout
from cortex.contract.instance import NeuronErrorBody
from cortex.neuron import refusal
from cortex.neuron.edge_error import STATUS, body_of, status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (refusal.UnknownHarness("x"), 400),
        (refusal.LoadedDifferently("x"), 400),
        (refusal.NotManaged("x"), 400),
        (refusal.Unauthorized(), 401),
        (contract_error.Forbidden(), 403),
        (ModelNotFound(), 404),
        (refusal.GenerationGone(), 404),
        (refusal.NoRoom("x"), 409),
        (refusal.Busy("x"), 409),
        (refusal.NotLoaded("x"), 409),
        (contract_error.JsonRequired(), 415),
        (CortexError(), 500),
        (UpstreamBroken(), 502),
        (refusal.Starting(), 503),
        (contract_error.ShuttingDown(), 503),
        (UpstreamTimeout(), 504),
    ],
    ids=lambda value: value.code if isinstance(value, CortexError) else str(value),
)
def test_an_error_has_its_status(error: CortexError, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("kind", list(STATUS), ids=lambda kind: kind.__name__)
def test_every_class_of_the_table_is_found_by_its_own_row(kind: type[CortexError]) -> None:
    assert status_of(kind()) == STATUS[kind]


def test_the_body_tells_code_message_and_details() -> None:
    body = body_of(refusal.NoRoom("no", devices=[1], need_mb=5))
    assert body.error == NeuronErrorBody(code="no_room", message="no", details={"devices": [1], "need_mb": 5})

"""The table of statuses: every error that can be raised has one, by itself or by its family."""

import pytest

from cortex.contract import error as e
from cortex.gateway.edge_error import RETRY_AFTER_S, retry_after_s, status_of


def family(kind: type[e.CortexError]) -> list[type[e.CortexError]]:
    """A class of errors and all below it that cortex itself defines."""
    mine = [child for child in kind.__subclasses__() if child.__module__ == e.__name__]
    return [kind, *(found for child in mine for found in family(child))]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (e.MalformedRequest(), 400),
        (e.ModelMissing(), 400),
        (e.CallerError(), 400),
        (e.Forbidden(), 403),
        (e.ModelNotFound(), 404),
        (e.NodeNotFound(), 404),
        (e.PathNotFound(), 404),
        (e.MethodNotAllowed(), 405),
        (e.NodeRefused(), 409),
        (e.BodyTooLarge(), 413),
        (e.JsonRequired(), 415),
        (e.UnsupportedEncoding(), 415),
        (e.HeadersTooLarge(), 431),
        (e.NoHealthyNode(), 503),
        (e.ModelLoading(), 503),
        (e.LoadFailed(), 503),
        (e.ShuttingDown(), 503),
        (e.CapacityError(), 503),
        (e.UpstreamUnreachable(), 502),
        (e.UpstreamBroken(), 502),
        (e.UpstreamTimeout(), 504),
        (e.UpstreamError(), 502),
        (e.ConfigError(), 500),
        (e.CortexError(), 500),
    ],
    ids=lambda value: value.code if isinstance(value, e.CortexError) else str(value),
)
def test_an_error_has_its_status(error: e.CortexError, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("kind", family(e.CallerError), ids=lambda kind: kind.__name__)
def test_what_the_caller_did_is_a_4xx(kind: type[e.CortexError]) -> None:
    assert 400 <= status_of(kind()) < 500


@pytest.mark.parametrize("kind", [*family(e.CapacityError), *family(e.UpstreamError)], ids=lambda kind: kind.__name__)
def test_what_the_fleet_did_is_a_5xx_that_is_no_500(kind: type[e.CortexError]) -> None:
    assert 502 <= status_of(kind()) <= 504


def test_an_error_unknown_to_the_table_has_the_status_of_its_family() -> None:
    class Novel(e.ModelNotFound):
        pass

    assert status_of(Novel()) == 404


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (e.CapacityError(retry_in_s=4.2), 5),
        (e.CapacityError(retry_in_s=0), 1),
        (e.CapacityError(), RETRY_AFTER_S),
        (e.CapacityError(retry_in_s="soon"), RETRY_AFTER_S),
        (e.ModelNotFound(), None),
    ],
    ids=["said", "at once", "unsaid", "in words", "never"],
)
def test_what_goes_away_by_itself_says_when_to_come_back(error: e.CortexError, seconds: int | None) -> None:
    assert retry_after_s(error) == seconds

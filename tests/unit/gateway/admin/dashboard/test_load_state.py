"""How far a load is, and for about how long yet."""

import pytest
from tests.unit.fleet.builder import a_node, a_report
from tests.unit.gateway.admin.scene import a_model, a_view

from cortex.fleet.load_book import Flight
from cortex.fleet.memory import LoadUnderWay
from cortex.fleet.view import FleetView
from cortex.gateway.admin.dashboard.load_state import eta_s, loads_of


def view(*, progress: float | None, load_s: float | None = None, asked: bool = True) -> FleetView:
    flight = Flight("beast", "org/big", 10.0, LoadUnderWay(model="org/big"))
    report = a_report("org/big", "loading", progress=progress, load_s=load_s)
    model = a_model(replicas=(), flights=(flight,) if asked else ())
    return FleetView(**{**as_dict(a_view([a_node("beast", models=[report])], [model])), "now_s": 40.0})


def as_dict(view: FleetView) -> dict[str, object]:
    return {name: getattr(view, name) for name in view.__struct_fields__}


def test_a_load_that_tells_how_far_it_is_goes_on_at_its_pace() -> None:
    (load,) = loads_of(view(progress=0.75), "org/big")
    assert (load.node, load.for_s, load.progress, load.eta_s) == ("beast", 30.0, 0.75, 10.0)


def test_one_that_does_not_is_expected_to_take_as_long_as_the_last() -> None:
    (load,) = loads_of(view(progress=None, load_s=50.0), "org/big")
    assert load.eta_s == 20.0


def test_a_load_of_another_gateway_has_no_estimate() -> None:
    (load,) = loads_of(view(progress=0.5, asked=False), "org/big")
    assert (load.for_s, load.eta_s) == (None, None)


def test_what_does_not_load_has_no_state() -> None:
    assert loads_of(a_view(), "org/big") == ()


@pytest.mark.parametrize(("for_s", "progress", "usual_s"), [(10.0, 0.05, None), (10.0, None, 5.0), (10.0, None, None)])
def test_nothing_is_guessed(for_s: float, progress: float | None, usual_s: float | None) -> None:
    assert eta_s(for_s, progress, usual_s) is None

"""The dashboard is put together when somebody asks for it, and not before."""

import asyncio
import subprocess
import sys

from tests.unit.gateway.admin.fake_insight import Seen
from tests.unit.gateway.admin.scene import FakeFleet, ask

from cortex.gateway.dashboard_opening import GatewayDashboard
from cortex.kit.task import TaskOwner


def dashboard() -> GatewayDashboard:
    fleet = FakeFleet()
    insight = Seen(fleet, fleet.clock).insight
    return GatewayDashboard(fleet, fleet.clock, TaskOwner(), insight, gateway_id="gw-7")


def test_whoever_asks_gets_pages() -> None:
    it = dashboard()
    answers = [asyncio.run(ask(it, "GET", "/dashboard/")) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert b"gw-7" in answers[0].body
    it.close()


def test_many_who_ask_at_once_get_the_same_one() -> None:
    it, made = dashboard(), []
    make = it._make
    it._make = lambda: made.append(1) or make()  # type: ignore[func-returns-value]

    async def scene() -> list[int]:
        return [answer.status for answer in await asyncio.gather(*(ask(it, "GET", "/dashboard/") for _ in range(5)))]

    assert asyncio.run(scene()) == [200] * 5
    assert len(made) == 1


def test_one_that_nobody_looked_at_is_closed_too() -> None:
    dashboard().close()


def test_a_gateway_that_nobody_looks_at_has_loaded_nothing_of_it() -> None:
    program = (
        "import sys, cortex.gateway.app; "
        "assert not any(name.startswith(('jinja2', 'cortex.gateway.admin.dashboard')) for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

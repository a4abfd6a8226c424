"""Only the newest steward may act, also after a restart."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL, a_node, a_request

from cortex.contract.error import MalformedRequest
from cortex.contract.instance import UnloadRequest
from cortex.contract.node import RestartRequest
from cortex.neuron.refusal import Stale
from cortex.neuron.state_dir import StateDir
from cortex.neuron.steward import FILE, StewardFence


def test_a_steward_that_has_been_followed_is_refused(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    fence = StewardFence(state)
    for number in (4, 4, 7, None, 7):
        fence.check(number)
    with pytest.raises(Stale) as refusal:
        fence.check(6)
    assert refusal.value.details == {"reason": "steward", "steward": 7}
    with pytest.raises(Stale):
        StewardFence(state).check(6)
    StewardFence(state).check(7)
    state.close()


@pytest.mark.parametrize("number", [-1, 1 << 63])
def test_a_number_that_no_steward_can_have_is_refused_and_shuts_nobody_out(tmp_path: Path, number: int) -> None:
    state = StateDir(tmp_path)
    fence = StewardFence(state)
    with pytest.raises(MalformedRequest, match="steward: expected 0 to 9223372036854775807"):
        fence.check(number)
    fence.check(0)
    state.close()


def test_maintenance_goes_on_with_a_full_disk_or_a_broken_file(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.write_file(FILE, b"{broken")
    (tmp_path / f".{FILE}.new").mkdir()
    fence = StewardFence(state)
    fence.check(3)
    with pytest.raises(Stale):
        fence.check(2)
    state.close()


def test_loads_unloads_and_restarts_of_a_former_steward_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_node(tmp_path) as node:
            await node.load(steward=5)
            calls = (
                node.supervisor.load(a_request("other", steward=4)),
                node.supervisor.unload(UnloadRequest(model_id=MODEL, steward=4)),
                node.supervisor.restart("fake", RestartRequest(steward=4)),
            )
            for call in calls:
                with pytest.raises(Stale, match="steward 4 is not in office any more: 5 is"):
                    await call
            assert [report.status for report in node.supervisor.reports()] == ["loaded"]

    asyncio.run(run())

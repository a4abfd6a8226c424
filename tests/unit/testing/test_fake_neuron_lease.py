"""The scripted neuron keeps the same book of leases as the real one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from cortex.testing.fake_neuron import FakeNeuron
from cortex.testing.virtual_clock import VirtualClock

TTL_S = 40.0


class Gateway:
    """One gateway that talks to the fake; it has seen what its last answer told."""

    def __init__(self, session: aiohttp.ClientSession, name: str = "a") -> None:
        self.session = session
        self.name = name
        self.seq = 0
        self.seen = {"start_id": "", "seen_event": 0}

    async def post(self, *leases: dict[str, object], **more: object) -> tuple[int, Any]:
        self.seq += 1
        body = {"gateway_id": self.name, "seq": self.seq, **self.seen, "leases": leases, **more}
        async with self.session.post("/leases", json=body) as response:
            answer = await response.json()
            if response.status == 200:
                self.seen = {"start_id": answer["start_id"], "seen_event": answer["event"]}
            return response.status, answer


def a_lease(in_flight: int = 0, **more: object) -> dict[str, object]:
    return {"model_id": "m", "generation": 1, "in_flight": in_flight, **more}


def with_gateway(test: Callable[[FakeNeuron, Gateway, VirtualClock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = VirtualClock()
        async with FakeNeuron(lease_ttl_s=TTL_S, clock=clock) as neuron, aiohttp.ClientSession(neuron.url) as session:
            neuron.parallel = 4
            neuron.put("m")
            await test(neuron, Gateway(session), clock)

    asyncio.run(run())


def test_a_post_is_answered_with_a_snapshot_first_and_with_changes_afterwards() -> None:
    async def run(neuron: FakeNeuron, gateway: Gateway, _: VirtualClock) -> None:
        _, answer = await gateway.post(a_lease())
        assert (answer["snapshot"], [model["id"] for model in answer["models"]]) == (True, ["m"])
        assert [grant["slots"] for grant in answer["slots"]] == [4]
        neuron.put("n")
        _, answer = await gateway.post(a_lease())
        assert [model["id"] for model in answer["models"]] == ["n"]
        _, answer = await gateway.post(a_lease())
        assert set(answer) == {"start_id", "event", "ttl_s", "cancel_settle_s", "health"}

    with_gateway(run)


def test_two_gateways_share_what_one_waits_for() -> None:
    async def run(neuron: FakeNeuron, gateway: Gateway, _: VirtualClock) -> None:
        other = Gateway(gateway.session, "b")
        await gateway.post(a_lease(1))
        await other.post(a_lease(waiting=2))
        await gateway.post(a_lease(1))
        assert [[grant.slots for grant in neuron.slots_of(name)] for name in "ab"] == [[2], [0]]
        await gateway.post(a_lease(1))
        assert [[grant.slots for grant in neuron.slots_of(name)] for name in "ab"] == [[2], [2]]

    with_gateway(run)


def test_a_drain_is_acknowledged_by_who_asked_for_the_endpoint_or_by_time() -> None:
    async def run(neuron: FakeNeuron, gateway: Gateway, clock: VirtualClock) -> None:
        await gateway.post()
        for name in "ab":
            async with gateway.session.get(f"/models/m/endpoint?gateway={name}") as response:
                assert (await response.json())["slots"] == (4 if name == "a" else 0)
        neuron.drain("m")
        await gateway.post(a_lease())
        assert not neuron.has_all_acknowledged("m"), "it may have sent the post before it was told"
        await gateway.post(a_lease())
        assert not neuron.has_all_acknowledged("m"), "b has not been heard"
        clock.advance(TTL_S)
        assert neuron.has_all_acknowledged("m")

    with_gateway(run)


def test_after_a_restart_a_gateway_has_seen_nothing_and_keeps_what_it_goes_by() -> None:
    async def run(neuron: FakeNeuron, gateway: Gateway, _: VirtualClock) -> None:
        await gateway.post(a_lease(2))
        neuron.restart("life-2")
        _, answer = await gateway.post(a_lease(2, slots=3))
        assert answer["snapshot"]
        assert [grant.slots for grant in neuron.slots_of("a")] == [3]
        neuron.drain("m")
        await gateway.post(a_lease())
        assert not neuron.has_all_acknowledged("m"), "it has not seen the drain"
        await gateway.post(a_lease())
        assert neuron.has_all_acknowledged("m"), "nobody else held it before the restart"

    with_gateway(run)


def test_bad_and_late_posts_are_refused_as_by_the_real_one() -> None:
    async def run(_neuron: FakeNeuron, gateway: Gateway, _: VirtualClock) -> None:
        await gateway.post(seq=9)
        status, answer = await gateway.post(seq=9)
        assert (status, answer["error"]["code"], answer["error"]["details"]) == (409, "stale", {"seq": 9})
        status, answer = await gateway.post({"model_id": "m"})
        assert (status, answer["error"]["code"]) == (400, "malformed_request")

    with_gateway(run)

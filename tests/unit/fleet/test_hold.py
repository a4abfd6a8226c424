"""What a gateway holds: one generation of a model, the slots it was told, when its lease was last renewed."""

import pytest

from cortex.contract.lease import Lease, SlotGrant
from cortex.fleet.hold import Holds, Use, most_used


def grant(slots: int, model: str = "m", generation: int = 1) -> SlotGrant:
    return SlotGrant(model_id=model, generation=generation, slots=slots)


def lease(model: str = "m", generation: int = 1) -> Lease:
    return Lease(model_id=model, generation=generation, in_flight=0)


def slots(holds: Holds, generation: int = 1) -> int | None:
    hold = holds.find("m", generation)
    assert hold is not None
    return hold.slots


def test_slots_that_are_told_first_count_more_than_those_that_came_with_a_place() -> None:
    holds = Holds()
    assert not holds.tell([grant(2)]), "nothing is held yet"
    assert holds.find("m", 1) is None
    assert holds.take("m", 1, 4, 10.0)
    assert slots(holds) == 2
    assert not holds.take("m", 1, 4, 11.0)


def test_newest_generation_counts() -> None:
    holds = Holds()
    holds.take("m", 2, 4, 10.0)
    assert not holds.take("m", 1, 4, 11.0)
    holds.tell([grant(1, generation=1)])
    assert slots(holds, 2) == 4
    holds.tell([grant(3, generation=3)])
    assert holds.find("m", 2) is None


def test_fewer_slots_of_what_is_held_are_noticed() -> None:
    holds = Holds()
    holds.take("m", 1, 4, 10.0)
    assert not holds.tell([grant(5)])
    assert holds.tell([grant(4)])
    assert holds.tell([], is_all=True)
    assert slots(holds) == 0


def test_renewal_never_goes_back() -> None:
    holds = Holds()
    holds.take("m", 1, 4, 10.0)
    for sent_s in (20.0, 15.0):
        holds.renew([lease(), lease("other")], sent_s)
    holds.take("m", 1, 4, 12.0)
    hold = holds.find("m", 1)
    assert hold is not None
    assert hold.sent_s == 20.0
    assert list(holds.all()) == [("m", 1)]


def test_generations_before_one_are_forgotten_or_all_but_one_or_everything() -> None:
    holds = Holds()
    holds.take("m", 2, 4, 10.0)
    holds.forget("m", before=2)
    holds.keep("m", 2)
    assert holds.find("m", 2) is not None
    holds.forget("m", before=3)
    assert holds.find("m", 2) is None
    holds.take("m", 2, 4, 10.0)
    holds.keep("m", 1)
    assert holds.find("m", 2) is None
    holds.take("m", 2, 4, 10.0)
    holds.forget("m")
    holds.take("n", 2, 4, 10.0)
    holds.clear()
    assert list(holds.all()) == []


def test_of_too_many_uses_the_busiest_and_the_least_idle_are_reported() -> None:
    uses = [Use(model_id=f"m{i}", generation=1, in_flight=0, idle_s=float(i)) for i in range(300)]
    uses.append(Use(model_id="waiting", generation=1, in_flight=0, waiting=1, idle_s=1000.0))
    reported = [use.model_id for use in most_used(uses)]
    assert len(reported) == 256
    assert reported[0] == "waiting"
    assert "m254" in reported
    assert "m299" not in reported


@pytest.mark.parametrize("told_s", [9.0, 10.0], ids=["long before", "and made it be asked"])
def test_what_was_told_before_the_question_is_of_a_lease_that_has_ended_since(told_s: float) -> None:
    holds = Holds()
    holds.tell([grant(3)], now_s=told_s)
    holds.take("m", 1, 0, 10.0)
    assert slots(holds) == 0

"""Who gets memory, from whom, and why not: the order of the rules, and what each refusal says."""

import pytest

from cortex.contract.instance import Victim
from cortex.residency.eviction import ASK_AGAIN_S, Admitted, Scene, Tenant, Wish, admit, judge
from cortex.residency.fit import DeviceRoom
from cortex.residency.reservation import ReservationBook
from cortex.residency.ticket import TicketBook

MAX_WAIT_S = 60.0


class Node:
    """Devices of 1000 MiB each, with instances on them."""

    def __init__(self, devices=1):
        self.book = ReservationBook(headroom_mb=0)
        self.tickets = TicketBook(MAX_WAIT_S)
        self.rooms = tuple(DeviceRoom(index=index, total_mb=1000) for index in range(devices))
        self.tenants = {}

    def put(self, key, held_mb, devices=(0,), **more):
        self.book.adopt(key, held_mb, devices)
        self.tenants[key] = Tenant(**{"generation": 1, "status": "loaded", **more})

    def wish(self, need_mb, *victims, key="new", devices=(0,)):
        named = tuple(Victim(model_id=victim, generation=1) for victim in victims)
        return Wish(key=key, need_mb=need_mb, devices=devices, victims=named)

    def judge(self, need_mb, *victims, now_s=0.0, **more):
        return judge(self.wish(need_mb, *victims, **more), self.scene, now_s)

    def admit(self, need_mb, *victims, now_s=0.0, **more):
        return admit(self.wish(need_mb, *victims, **more), self.scene, now_s)

    @property
    def scene(self):
        return Scene(self.book, self.tickets, self.rooms, self.tenants)


def test_what_fits_needs_nobody_to_go():
    node = Node()
    node.put("v", 400)
    assert node.judge(600, "v") == Admitted()


def test_a_victim_goes_for_what_does_not_fit_beside_it():
    node = Node()
    node.put("v", 400)
    assert node.judge(601, "v") == Admitted(victims=("v",))


def test_no_victim_goes_beyond_those_that_it_takes():
    node = Node()
    for key in "abc":
        node.put(key, 300)
    assert node.judge(400, "a", "b", "c").victims == ("a",)
    assert node.judge(600, "c", "b", "a").victims == ("c", "b")


def test_of_several_those_go_that_can():
    node = Node()
    node.put("busy", 500, in_flight=1)
    node.put("fresh", 200, protected_s=9)
    node.put("idle", 300)
    assert node.judge(300, "busy", "fresh", "idle") == Admitted(victims=("idle",))


def test_a_victim_on_another_device_stays():
    node = Node(devices=2)
    node.put("here", 900, (0,))
    node.put("there", 900, (1,))
    assert node.judge(500, "there", "here").victims == ("here",)


def test_a_load_on_two_devices_gets_both_or_nothing():
    node = Node(devices=2)
    node.put("a", 900, (0,))
    node.put("b", 900, (1,))
    assert node.admit(1000, "a", devices=(0, 1)).code == "no_room"
    assert node.book.reservations == ()
    assert node.admit(1000, "a", "b", devices=(0, 1)) == Admitted(victims=("a", "b"))


@pytest.mark.parametrize(
    "tenant",
    [
        None,
        {"generation": 2},
        {"status": "unloaded"},
        {"status": "failed"},
        {"is_pinned": True},
    ],
    ids=["unknown", "another generation", "unloaded", "failed", "pinned"],
)
@pytest.mark.parametrize("need_mb", [100, 700], ids=["even where there is room", "and room is wanted"])
def test_a_plan_that_goes_by_an_old_picture_is_stale(tenant, need_mb):
    node = Node()
    node.put("v", 500)
    if tenant is None:
        del node.tenants["v"]
    else:
        node.tenants["v"] = Tenant(**{"generation": 1, "status": "loaded", **tenant})
    refusal = node.judge(need_mb, "v")
    assert (refusal.code, refusal.key, refusal.retry_in_s) == ("stale", "v", None)
    assert refusal.reason == ("victim_pinned" if tenant == {"is_pinned": True} else "victim_gone")


def test_what_does_not_fit_even_without_its_victims_is_told_what_there_is_now():
    node = Node()
    node.put("v", 300)
    node.put("other", 500)
    refusal = node.judge(600, "v")
    assert (refusal.code, refusal.reason, refusal.retry_in_s) == ("no_room", "no_room", None)
    (device,) = refusal.devices
    assert (device.free_mb, device.missing_mb) == (200, 400)


def test_what_the_empty_device_could_not_hold_never_waits():
    node = Node()
    node.put("v", 300)
    assert node.admit(1001, "v").reason == "too_large"
    assert node.tickets.waiting(0) == ()


@pytest.mark.parametrize("status", ["loading", "draining", "unloading"])
def test_a_victim_on_its_way_up_or_out_is_busy(status):
    node = Node()
    node.put("v", 500, status=status)
    refusal = node.judge(700, "v")
    assert (refusal.code, refusal.reason, refusal.retry_in_s) == ("busy", f"victim_{status}", ASK_AGAIN_S)


def test_a_protected_victim_is_held_as_long_as_the_last_of_them_is():
    node = Node()
    node.put("a", 500, protected_s=3)
    node.put("b", 500, protected_s=7)
    refusal = node.judge(1000, "a", "b")
    assert (refusal.code, refusal.reason, refusal.key, refusal.retry_in_s) == ("held", "victim_protected", "b", 7)


def test_a_victim_with_requests_is_busy_and_nothing_is_reserved():
    node = Node()
    node.put("v", 500, in_flight=3)
    refusal = node.admit(700, "v")
    assert (refusal.code, refusal.reason, refusal.retry_in_s) == ("busy", "victim_busy", ASK_AGAIN_S)
    assert node.book.reservations == ()


def test_a_load_that_has_waited_long_enough_is_due_and_may_take_a_busy_victim():
    node = Node()
    node.put("v", 500, in_flight=3)
    for now_s in (0.0, 20.0, 40.0, 59.5):
        refusal = node.admit(700, "v", now_s=now_s)
        assert refusal.code == "busy"
    assert refusal.retry_in_s == 0.5, "it is told to ask when it is due"
    assert node.admit(700, "v", now_s=60.0) == Admitted(victims=("v",), is_due=True)


def test_even_a_load_that_is_due_takes_nobody_who_is_protected():
    node = Node()
    node.put("v", 500, in_flight=3)
    for now_s in (0.0, 20.0, 40.0):
        node.admit(700, "v", now_s=now_s)
    node.tenants["v"] = Tenant(generation=1, status="loaded", protected_s=5)
    assert node.judge(700, "v", now_s=61.0).code == "held"


def test_a_younger_load_does_not_take_the_room_for_which_an_older_waits():
    node = Node()
    node.put("v", 500, in_flight=1)
    assert node.admit(900, "v", key="old").code == "busy"
    refusal = node.admit(400, key="young", now_s=1.0)
    assert (refusal.code, refusal.reason, refusal.key) == ("held", "waits_its_turn", "old")
    assert node.admit(100, key="small", now_s=1.0) == Admitted(), "the older one fits beside it"


def test_a_younger_load_does_not_take_the_older_ones_victim():
    node = Node()
    node.put("v", 900, protected_s=5)
    assert node.admit(900, "v", key="old").code == "held"
    node.tenants["v"] = Tenant(generation=1, status="loaded")
    assert node.admit(900, "v", key="young", now_s=6.0).reason == "waits_its_turn"
    assert node.admit(900, "v", key="old", now_s=6.0) == Admitted(victims=("v",))


def test_who_waits_on_other_devices_holds_nobody_up():
    node = Node(devices=2)
    node.put("v", 900, (1,), in_flight=1)
    node.admit(900, "v", key="old", devices=(1,))
    assert node.admit(900, key="young", devices=(0,), now_s=1.0) == Admitted()


def test_an_older_load_that_could_not_be_served_anyway_holds_nobody_up():
    node = Node()
    node.put("v", 500, in_flight=1)
    node.admit(900, "v", key="old")
    node.put("bulk", 300)
    assert node.admit(200, key="young", now_s=1.0) == Admitted()


def test_who_does_not_ask_again_holds_nobody_up():
    node = Node()
    node.put("v", 500, in_flight=1)
    node.admit(900, "v", key="old")
    assert node.admit(400, key="young", now_s=100.0) == Admitted()


def test_a_load_without_victims_is_served_and_leaves_the_queue():
    node = Node()
    node.put("v", 500, in_flight=1)
    node.admit(900, "v")
    node.book.release("v")
    assert node.admit(900, now_s=1.0) == Admitted()
    assert node.tickets.waiting(1.0) == ()


def test_a_load_whose_victims_are_to_go_keeps_its_place_until_they_do():
    node = Node()
    node.put("v", 500, in_flight=1)
    node.admit(900, "v")
    node.tenants["v"] = Tenant(generation=1, status="loaded")
    assert node.admit(900, "v", now_s=1.0).victims == ("v",)
    assert [ticket.since_s for ticket in node.tickets.waiting(1.0)] == [0.0]


def test_room_that_somebody_leaves_is_worth_another_question_and_a_place_in_the_queue():
    node = Node()
    node.put("v", 700, status="draining")
    refusal = node.admit(400, now_s=1.0)
    assert (refusal.code, refusal.reason, refusal.retry_in_s) == ("no_room", "no_room", ASK_AGAIN_S)
    assert [ticket.key for ticket in node.tickets.waiting(1.0)] == ["new"]


def test_a_victim_that_makes_room_for_another_load_may_have_to_stay():
    node = Node()
    node.put("v", 700)
    node.admit(900, "v", key="first")
    assert node.judge(800, "v", key="second").retry_in_s == ASK_AGAIN_S
    assert node.judge(800, key="third").retry_in_s is None, "it names nobody who could go once the first has failed"


def test_what_a_smaller_load_leaves_of_its_victims_room_comes_soon():
    node = Node()
    node.put("v", 900)
    node.admit(300, "v", key="first")
    assert node.judge(600, key="second").retry_in_s == ASK_AGAIN_S
    assert node.judge(800, key="second").retry_in_s is None


def test_a_promise_that_awaits_nobody_does_not_pass():
    node = Node()
    node.admit(900, key="first")
    refusal = node.admit(200, key="second")
    assert (refusal.code, refusal.retry_in_s, node.tickets.waiting(0.0)) == ("no_room", None, ())


def test_what_is_reserved_with_a_victims_room_is_nobody_elses():
    node = Node()
    node.put("v", 700)
    node.admit(900, "v")
    assert node.judge(200, key="other").code == "no_room"
    assert isinstance(node.judge(100, key="other"), Admitted)
    node.book.release("v")
    assert node.judge(101, key="other").code == "no_room"
    assert isinstance(node.judge(100, key="other"), Admitted)


def test_a_victim_named_twice_counts_once():
    node = Node()
    node.put("v", 500)
    assert node.judge(700, "v", "v") == Admitted(victims=("v",))

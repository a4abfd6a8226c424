"""How often an address may try to sign in."""

from cortex.gateway.admin.dashboard.attempt import FORGET_S, FREE, MAX_REMEMBERED, MAX_WAIT_S, Attempts


def failed(times: int, address: str = "192.0.2.1", attempts: Attempts | None = None) -> Attempts:
    attempts = attempts or Attempts()
    for _ in range(times):
        attempts.failed(address, 100.0)
    return attempts


def test_the_first_failures_cost_nothing() -> None:
    assert failed(FREE - 1).wait_s("192.0.2.1", 100.0) == 0


def test_every_further_failure_doubles_the_wait_up_to_a_limit() -> None:
    waits = [failed(FREE + more).wait_s("192.0.2.1", 100.0) for more in range(12)]
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == MAX_WAIT_S


def test_another_address_does_not_wait() -> None:
    assert failed(FREE + 3).wait_s("192.0.2.2", 100.0) == 0


def test_the_addresses_of_one_ipv6_network_wait_together() -> None:
    attempts = failed(FREE, "2001:db8:1:2::1")
    assert attempts.wait_s("2001:db8:1:2:ffff::9", 100.0) == 2
    assert attempts.wait_s("2001:db8:1:3::1", 100.0) == 0


def test_the_wait_is_over_when_it_is_over() -> None:
    attempts = failed(FREE)
    assert attempts.wait_s("192.0.2.1", 101.0) == 1
    assert attempts.wait_s("192.0.2.1", 102.0) == 0


def test_failures_of_long_ago_are_forgotten() -> None:
    attempts = failed(FREE + 9)
    assert attempts.wait_s("192.0.2.1", 100.0 + FORGET_S) == 0
    attempts.failed("192.0.2.1", 100.0 + FORGET_S)
    assert attempts.wait_s("192.0.2.1", 100.0 + FORGET_S) == 0


def test_who_gets_in_begins_anew() -> None:
    attempts = failed(FREE)
    attempts.succeeded("192.0.2.1")
    assert attempts.wait_s("192.0.2.1", 100.0) == 0


def test_memory_is_bounded_and_the_oldest_are_forgotten_first() -> None:
    attempts = failed(FREE)
    for number in range(MAX_REMEMBERED):
        attempts.failed(f"10.1.{number // 256}.{number % 256}", 100.0)
    assert attempts.wait_s("192.0.2.1", 100.0) == 0
    assert attempts.wait_s("not an address", 100.0) == 0

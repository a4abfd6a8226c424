"""Who may call is judged by what callers have to show and from where they need not."""

import pytest

from cortex.cli.doctor.access import is_loopback, judge_door, judge_proxies
from cortex.gateway.settings import PRIVATE_NETWORKS


@pytest.mark.parametrize(
    ("host", "shown", "networks", "result"),
    [
        ("127.0.0.1", "", ["0.0.0.0/0"], "ok"),
        ("localhost", "", ["0.0.0.0/0"], "ok"),
        ("0.0.0.0", "2 keys", ["0.0.0.0/0"], "ok"),
        ("0.0.0.0", "", PRIVATE_NETWORKS, "ok"),
        ("0.0.0.0", "", ["100.64.0.0/10", "fe80::/10"], "ok"),
        ("0.0.0.0", "", ["10.0.0.0/8", "203.0.0.0/8"], "warn"),
        ("::", "", ["::/0"], "fail"),
        ("gpu1", "", ["0.0.0.0/0"], "fail"),
        ("0.0.0.0", None, PRIVATE_NETWORKS, "skipped"),
    ],
)
def test_an_open_door_is_told_by_how_many_may_come(
    host: str, shown: str | None, networks: list[str], result: str
) -> None:
    found = judge_door(host, shown, networks, "cortex keys create", "the store is gone")
    assert found.result == result
    assert found.do == ("cortex keys create" if result in ("warn", "fail") else "")


@pytest.mark.parametrize(
    ("proxies", "result"),
    [
        ([], "ok"),
        (["10.0.0.5/32"], "ok"),
        (["192.168.0.0/16"], "ok"),
        (["8.8.8.0/24"], "ok"),
        (["8.0.0.0/8"], "warn"),
        (["0.0.0.0/0"], "fail"),
    ],
)
def test_proxies_that_anybody_could_be_are_told(proxies: list[str], result: str) -> None:
    assert judge_proxies(proxies).result == result


@pytest.mark.parametrize(("host", "is_one"), [("127.0.0.7", True), ("::1", True), ("localhost", True), ("h", False)])
def test_loopback_is_known(host: str, is_one: bool) -> None:
    assert is_loopback(host) is is_one

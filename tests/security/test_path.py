"""Tricks in paths and ids lead nowhere: what is asked is a name in a table, never a file or another path."""

from pathlib import Path

import pytest
from tests.integration.gateway.hostile_engine import good
from tests.integration.gateway.scene import Scene, scene
from tests.unit.neuron.test_api import Desk, at_desk

TRICKS = {
    "dots": "../../etc/passwd",
    "quoted-dots": "%2e%2e/%2e%2e/etc/passwd",
    "twice-quoted-dots": "%252e%252e%252fetc%252fpasswd",
    "quoted-slashes": "..%2f..%2fetc%2fpasswd",
    "backslashes": "..\\..\\etc\\passwd",
    "quoted-backslashes": "..%5c..%5cetc",
    "nul": "%00",
    "nul-behind-a-name": "org/m%00.gguf",
    "line-feed": "%0d%0aset-cookie:%20a=b",
    "escape": "%1b[2J",
    "no-utf-8": "%ff%fe",
    "overlong-utf-8": "%c0%ae%c0%ae/",
    "surrogate": "%ed%a0%80",
    "half-a-quote": "%2",
    "long": "a" * 30_000,
    "slashes": "/" * 200,
    "dot": ".",
    "absolute": "/etc/passwd",
    "query-in-quotes": "m%3Fadmin=1",
    "fragment": "m%23",
    "semicolon": "m;admin=1",
}
GATEWAY = [
    "/v1/models/{}",
    "/v1/responses/{}",
    "/v1/responses/{}/cancel",
    "/admin/v1/models/{}",
    "/admin/v1/nodes/{}",
    "/admin/v1/keys/{}",
    "/admin/v1/usage/{}",
    "/dashboard/{}",
    "/dashboard/static/{}",
    "/{}",
]
NEURON = ["/models/{}/endpoint", "/models/{}/logs", "/relay/{}", "/harnesses/{}/restart", "/{}"]


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
@scene(good)
async def test_a_trick_finds_nothing_at_the_gateway(it: Scene, trick: str) -> None:
    for path in GATEWAY:
        answer = await it.get(path.format(trick))
        assert answer.status in (302, 308, 400, 403, 404, 405, 414, 431), path
        assert b"root:" not in answer.body
        assert answer.header("set-cookie") is None
        assert all(value.isprintable() for _, value in answer.headers)


@scene(good)
async def test_an_admin_path_is_not_reached_round_the_rule_for_keys(it: Scene) -> None:
    """The rule goes by the path as it was sent, and so does what serves it."""
    for path in (
        "//admin/v1/nodes",
        "/%61dmin/v1/nodes",
        "/v1/../admin/v1/nodes",
        "/./admin/v1/nodes",
        "/ADMIN/v1/nodes",
    ):
        assert (await it.get(path)).status == 404, path


def test_a_trick_finds_nothing_at_the_neuron(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for trick in TRICKS.values():
            for path in NEURON:
                reply = await desk.ask("GET", path.format(trick))
                assert reply.status in (400, 404, 405, 410, 503), (path, trick)
                assert b"root:" not in reply.body

    at_desk(tmp_path, scenario)

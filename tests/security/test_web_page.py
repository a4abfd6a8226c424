"""A web page of another origin reaches nothing that has an effect, on any path that there is."""

import pytest
from tests.integration.gateway.hostile_engine import good
from tests.integration.gateway.scene import Scene, scene

from cortex.gateway.admin.operation import OPERATIONS, PREFIX
from cortex.gateway.data.route import INFERENCE

EVIL = "origin: https://evil.example"
ADMIN = [PREFIX + one.path.replace("{id}", "m").replace("{name}", "n0") for one in OPERATIONS if one.body is not None]
DIALECT = ["/v1/messages/count_tokens", "/api/show", "/v1/responses/resp_1/cancel"]
PATHS = [*(path.decode() for path in INFERENCE), *ADMIN, *DIALECT]
BLIND = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=cut"]
"""What a page may send without asking first. Source: Fetch standard, CORS-safelisted request headers."""
FORM = b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\norg/m\r\n--cut--\r\n'


@scene(good)
async def test_a_foreign_page_posts_nothing_anywhere(it: Scene) -> None:
    for path in PATHS:
        for kind in BLIND:
            body = FORM if kind.startswith("multipart") else b'{"model":"org/m","prompt":"x","input":"x"}'
            answer = await it.ask(body, EVIL, f"content-type: {kind}", path=path)
            assert answer.status == 403, (path, kind)
            assert answer.header("access-control-allow-origin") is None
    assert it.turns == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
@scene(good)
async def test_a_foreign_page_changes_nothing_by_any_method(it: Scene, method: str) -> None:
    for path in ("/v1/responses/resp_1", "/v1/models/org/m", "/admin/v1/keys", "/"):
        assert (await it.ask(b"", EVIL, path=path, method=method)).status == 403


@scene(good)
async def test_a_page_that_has_given_our_address_a_name_reads_nothing(it: Scene) -> None:
    """DNS rebinding: the browser takes the gateway for a part of the page's own site."""
    for path in ("/v1/models", "/admin/v1/nodes", "/admin/v1/callers", "/api/tags", "/dashboard/"):
        raw = f"GET {path} HTTP/1.1\r\nhost: evil.example:8000\r\nuser-agent: Mozilla/5.0\r\naccept: */*\r\n\r\n"
        async with it.client() as client:
            await client.send(raw.encode())
            assert (await client.answer()).status == 403, path


@scene(good, cors_origins=("https://chat.example.org",))
async def test_a_listed_page_asks_first_and_then_streams(it: Scene) -> None:
    origin = "origin: https://chat.example.org"
    asked = ("access-control-request-method: POST", "access-control-request-headers: authorization, content-type")
    before = await it.ask(b"", origin, *asked, path="/v1/chat/completions", method="OPTIONS")
    assert before.status == 204
    assert before.header("access-control-allow-origin") == "https://chat.example.org"
    answer = await it.ask({"model": "org/m", "messages": [], "stream": True}, origin)
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == "https://chat.example.org"
    refused = await it.ask({"model": "none", "messages": []}, origin)
    assert refused.status == 404
    assert refused.header("access-control-allow-origin") == "https://chat.example.org"

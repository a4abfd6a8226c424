"""Keys at the doors of two gateways that share a store: from none, over the first one, to one that was revoked."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from tests.integration.gateway.raw_client import LIMIT_S, Answer, connected

from cortex.contract.key import KeyWish
from cortex.gateway.app import Gateway
from cortex.gateway.settings import GatewaySection, GatewaySettings, StoreSection
from cortex.gateway.store.key import StoredKeys
from cortex.gateway.store.key_watch import CHECK_S
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import SystemClock

KEYS = "/admin/v1/keys"
ASK = {"model": "m", "messages": []}


@contextlib.asynccontextmanager
async def running(url: str) -> AsyncIterator[Gateway]:
    section = GatewaySection(listen="127.0.0.1:0", metrics_listen="127.0.0.1:0")
    gateway = Gateway(
        GatewaySettings(gateway=section, store=StoreSection(url=url)), (), clock=SystemClock(), rng=Random(1)
    )
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop(0)


async def ask(gateway: Gateway, path: str, secret: str = "", body: object = None) -> Answer:
    headers = ["content-type: application/json"]
    if secret:
        headers.append(f"authorization: Bearer {secret}")
    method = "GET" if body is None else "POST"
    async with connected(gateway.port) as client:
        await client.ask(b"" if body is None else body, *headers, path=path, method=method)
        return await client.answer()


async def until(gateway: Gateway, status: int, secret: str = "") -> float:
    """Ask until the answer is that; return how long it took."""
    began_s = SystemClock().now_s()
    async with asyncio.timeout(LIMIT_S):
        while (await ask(gateway, "/v1/models", secret)).status != status:
            pass
    return SystemClock().now_s() - began_s


async def make_first_key(url: str) -> str:
    """Do what ``cortex keys create --admin`` does."""
    store = open_store(StoreSection(url=url), SystemClock(), "host")
    assert store is not None
    try:
        return (await StoredKeys(store).create(KeyWish(name="root", scope="admin"))).secret
    finally:
        await store.close()


def test_keys_from_the_first_to_the_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    url, secrets = f"sqlite:///{tmp_path}/store.db", []

    async def run() -> None:
        async with running(url) as one, running(url) as other:
            assert (await ask(one, "/v1/models")).status == 200
            assert (await ask(one, KEYS, body={"name": "me", "scope": "admin"})).status == 403
            root = await make_first_key(url)
            assert max(await asyncio.gather(until(one, 401), until(other, 401))) < CHECK_S
            made = (await ask(one, KEYS, root, {"name": "alice"})).json()
            alice, key_id = made["secret"], made["key"]["id"]
            secrets.extend((root, alice))
            assert await until(other, 200, alice) < CHECK_S
            assert (await ask(other, KEYS, alice)).status == 403
            assert (await ask(other, "/v1/chat/completions", alice, ASK)).status in (404, 503)
            assert (await ask(other, "/livez")).status == 200
            listed = await ask(other, KEYS, root)
            assert [key["name"] for key in listed.json()["keys"]] == ["root", "alice"]
            assert not any(secret.encode() in listed.body for secret in secrets)
            assert (await ask(one, f"{KEYS}/{key_id}/revoke", root, {})).status == 200
            assert await until(other, 401, alice) < CHECK_S
            refused = await ask(one, "/v1/chat/completions", alice, ASK)
            assert (refused.status, refused.error()["code"]) == (401, "unauthorized")
            assert alice.encode() not in refused.body

    caplog.set_level(logging.DEBUG)
    asyncio.run(run())
    said = capsys.readouterr().err + caplog.text
    assert "key=alice" in said
    assert not any(secret in said for secret in secrets)

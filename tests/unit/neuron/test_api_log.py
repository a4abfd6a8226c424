"""Logs over the API, followed as they are written."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL
from tests.unit.neuron.test_api import Desk, at_desk


def test_logs_can_be_followed_until_the_model_is_unloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortex.neuron.process.log_follow.POLL_S", 0)

    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        log = desk.node.harness.launches[0].log
        log.write_text("one\ntwo\n")
        following = asyncio.create_task(desk.ask("GET", f"/models/{MODEL}/logs?lines=1&follow=true"))
        await desk.node.let_pass(lambda: desk.node.supervisor._log_readers._count == 1)
        with log.open("a") as file:
            file.write("three\n")
        await desk.ask("POST", "/models/unload", {"model_id": MODEL, "wait": False})
        await desk.node.until(MODEL, "unloaded")
        reply = await following
        assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert reply.body == b"two\nthree\n"
        assert (await desk.ask("GET", f"/models/{MODEL}/logs?follow=true")).body == b"one\ntwo\nthree\n"

    at_desk(tmp_path, scenario)


def test_following_logs_is_refused_like_reading_them(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        for query in ("follow=yes", "follow=true&lines=0", "follow="):
            assert (await desk.ask("GET", f"/models/{MODEL}/logs?{query}")).error == (400, "malformed_request")
        assert (await desk.ask("GET", "/models/what/logs?follow=true")).error == (404, "model_not_found")

    at_desk(tmp_path, scenario)

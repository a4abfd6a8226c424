"""Sessions in the store: taken down for a key that holds, bounded, ended, and gone with their time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from cortex.contract.key import KeyWish
from cortex.gateway.ports import SessionRecord
from cortex.gateway.store.database import Database
from cortex.gateway.store.key import StoredKeys
from cortex.gateway.store.schema import DASHBOARD_SESSION
from cortex.gateway.store.session import MAX_OF_KEY, StoredSessions
from cortex.gateway.store_url import parse_store_url
from cortex.testing.virtual_clock import VirtualClock


class Scene:
    """A store with a key."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.keys = StoredKeys(database)
        self.sessions = StoredSessions(database)

    async def of_key(self) -> tuple[str, bytes]:
        made = await self.keys.create(KeyWish(name="olga", scope="admin"))
        record = next(one for one in (await self.keys.read())[1] if one.key == made.key)
        return record.key.id, record.digest

    async def digests(self) -> list[bytes]:
        return sorted(one.digest for one in await self.sessions.read())

    async def revision(self) -> int:
        return (await self.keys.read())[0]


def a_session(digest: bytes, key: tuple[str, bytes], left_s: float = 100.0) -> SessionRecord:
    return SessionRecord(digest, *key, left_s)


def play(folder: Path, test: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        database = Database(parse_store_url(f"sqlite:///{folder}/store.db"), VirtualClock())
        try:
            await test(Scene(database))
        finally:
            await database.close()

    asyncio.run(run())


def test_a_session_is_kept_as_it_was_taken_down_with_the_time_it_has_yet(tmp_path: Path) -> None:
    async def test(it: Scene) -> None:
        key = await it.of_key()
        assert await it.sessions.begin(a_session(b"a", key))
        (kept,) = await it.sessions.read()
        assert (kept.digest, kept.key_id, kept.key_digest) == (b"a", *key)
        assert kept.left_s == pytest.approx(100, abs=30)
        assert kept.left_s <= 100

    play(tmp_path, test)


def test_every_beginning_and_end_is_a_change_that_gateways_hear_of(tmp_path: Path) -> None:
    async def test(it: Scene) -> None:
        key = await it.of_key()
        seen = [await it.revision()]
        await it.sessions.begin(a_session(b"a", key))
        seen.append(await it.revision())
        await it.sessions.end((b"a",))
        seen.append(await it.revision())
        assert seen == sorted(set(seen))
        await it.sessions.end((b"a",))
        assert await it.revision() == seen[-1]

    play(tmp_path, test)


def test_only_what_is_named_ends(tmp_path: Path) -> None:
    async def test(it: Scene) -> None:
        key = await it.of_key()
        for digest in (b"a", b"b", b"c"):
            await it.sessions.begin(a_session(digest, key))
        await it.sessions.end((b"a", b"c", b"x"))
        assert await it.digests() == [b"b"]

    play(tmp_path, test)


def test_none_begins_with_a_key_that_is_revoked_unknown_or_has_another_secret(tmp_path: Path) -> None:
    async def test(it: Scene) -> None:
        revoked, turned = await it.of_key(), await it.of_key()
        await it.keys.revoke(revoked[0])
        await it.keys.rotate(turned[0])
        for key in (revoked, turned, ("key_x", b"x")):
            assert not await it.sessions.begin(a_session(b"a", key))
        assert await it.digests() == []

    play(tmp_path, test)


def test_what_has_ended_is_not_read_and_goes_when_another_begins(tmp_path: Path) -> None:
    async def test(it: Scene) -> None:
        key = await it.of_key()
        await it.sessions.begin(a_session(b"a", key))
        await it.database.run(lambda connection: connection.execute(update(DASHBOARD_SESSION).values(ends_s=1.0)))
        assert await it.digests() == []
        await it.sessions.begin(a_session(b"b", await it.of_key()))
        await it.database.run(lambda connection: connection.execute(update(DASHBOARD_SESSION).values(ends_s=9e9)))
        assert await it.digests() == [b"b"]

    play(tmp_path, test)


def test_of_too_many_of_a_key_the_oldest_end_and_those_of_another_stay(tmp_path: Path) -> None:
    async def test(it: Scene) -> None:
        key, other = await it.of_key(), await it.of_key()
        await it.sessions.begin(a_session(b"other", other))
        names = [f"{number:03}".encode() for number in range(MAX_OF_KEY + 2)]
        for place, name in enumerate(names):
            await it.sessions.begin(a_session(name, key))
            aging = update(DASHBOARD_SESSION).where(DASHBOARD_SESSION.c.digest == name).values(begun_s=float(place))
            await it.database.run(lambda connection, aging=aging: connection.execute(aging))
        assert await it.digests() == [*names[2:], b"other"]

    play(tmp_path, test)

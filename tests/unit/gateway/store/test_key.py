"""Keys in the store: made, found by what is kept of their secret, ended, and given another one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from cortex.contract.error import CallerError, KeyNotFound, StoreUnavailable
from cortex.contract.key import KeyLimits, KeyWish
from cortex.gateway.key_secret import digest_of
from cortex.gateway.store.database import Database
from cortex.gateway.store.key import StoredKeys
from cortex.gateway.store_url import parse_store_url
from cortex.testing.virtual_clock import VirtualClock

WISH = KeyWish(
    name="alice", models=("qwen*", "short"), queue_priority=-3, limits=KeyLimits(requests_per_min=5), expires_in_s=60.0
)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Database]:
    database = Database(parse_store_url(f"sqlite:///{folder}/store.db"), VirtualClock())
    try:
        yield database
    finally:
        await database.close()


def with_keys(folder: Path, test: Callable[[StoredKeys, Database], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(folder) as database:
            await test(StoredKeys(database), database)

    asyncio.run(run())


def test_a_key_is_kept_as_it_was_wished_for(tmp_path: Path) -> None:
    async def test(keys: StoredKeys, _: Database) -> None:
        made = await keys.create(WISH)
        assert await keys.list_all() == (made.key,)
        kept = made.key
        assert (kept.name, kept.models, kept.queue_priority, kept.limits) == (
            WISH.name,
            WISH.models,
            WISH.queue_priority,
            WISH.limits,
        )
        assert kept.expires_s == pytest.approx(kept.created_s + 60, abs=5)
        assert made.secret.startswith(kept.shown)

    with_keys(tmp_path, test)


def test_its_secret_is_nowhere_in_the_store_nor_in_what_is_shown_of_it(tmp_path: Path) -> None:
    async def test(keys: StoredKeys, _: Database) -> None:
        made = await keys.create(WISH)
        ((digest, kept),) = [(record.digest, record.key) for record in (await keys.read())[1]]
        assert (digest, kept) == (digest_of(made.secret.encode()), made.key)
        for shown in (repr(made), str(made), f"{made}", repr(list(made.__rich_repr__())), repr(await keys.read())):
            assert made.secret not in shown
        secrets.append(made.secret.encode())

    secrets: list[bytes] = []
    with_keys(tmp_path, test)
    files = [file.read_bytes() for file in tmp_path.iterdir()]
    assert files
    assert not any(secrets[0] in content for content in files)


def test_another_secret_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    async def test(keys: StoredKeys, _: Database) -> None:
        first = await keys.create(WISH)
        second = await keys.rotate(first.key.id)
        assert msgspec.structs.replace(second.key, shown=first.key.shown) == first.key
        assert [record.digest for record in (await keys.read())[1]] == [digest_of(second.secret.encode())]

    with_keys(tmp_path, test)


def test_a_key_that_was_revoked_stays_so_from_the_first_time_on(tmp_path: Path) -> None:
    async def test(keys: StoredKeys, _: Database) -> None:
        made = await keys.create(WISH)
        revoked = await keys.revoke(made.key.id)
        assert revoked.revoked_s is not None
        assert await keys.revoke(made.key.id) == revoked
        with pytest.raises(CallerError, match="was revoked"):
            await keys.rotate(made.key.id)
        assert await keys.list_all() == (revoked,)

    with_keys(tmp_path, test)


def test_an_id_that_is_no_keys_is_said_to_be_none(tmp_path: Path) -> None:
    async def test(keys: StoredKeys, _: Database) -> None:
        for change in (keys.revoke, keys.rotate, keys.use_of):
            with pytest.raises(KeyNotFound, match="key_x"):
                await change("key_x")

    with_keys(tmp_path, test)


def test_how_its_limits_stand_is_told_by_its_id(tmp_path: Path) -> None:
    async def test(keys: StoredKeys, _: Database) -> None:
        made = await keys.create(WISH)
        told = await keys.use_of(made.key.id)
        assert (told.id, told.name) == (made.key.id, "alice")
        assert [(use.limit, use.bound, use.used, use.held) for use in told.limits] == [("requests_per_min", 5, 0, 0)]

    with_keys(tmp_path, test)


def test_every_change_has_a_revision_of_its_own_and_nothing_is_read_without_one(tmp_path: Path) -> None:
    async def test(keys: StoredKeys, database: Database) -> None:
        told: list[None] = []

        async def changed() -> None:
            told.append(None)

        keys = StoredKeys(database, changed)
        numbers = [(await keys.read())[0]]
        made = await keys.create(WISH)
        numbers.append((await keys.read())[0])
        await keys.rotate(made.key.id)
        numbers.append((await keys.read())[0])
        await keys.revoke(made.key.id)
        numbers.append((await keys.read())[0])
        assert (len(set(numbers)), len(told)) == (4, 3)
        assert await keys.read(numbers[-1]) == (numbers[-1], ())

    with_keys(tmp_path, test)


def test_a_key_that_only_another_version_understands_is_not_left_out(tmp_path: Path) -> None:
    async def test(keys: StoredKeys, database: Database) -> None:
        await keys.create(WISH)
        strange = text("""UPDATE api_key SET limits = '{"requests_per_fortnight": 5}'""")
        await database.run(lambda connection: connection.execute(strange))
        with pytest.raises(StoreUnavailable, match="of another version"):
            await keys.read()
        assert database.is_up

    with_keys(tmp_path, test)


@pytest.mark.parametrize("name", ["", "two words", "a\nb", "-x", "ä", "x" * 65, 'a"b'])
def test_a_name_fits_logs_and_commands(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": name}, KeyWish)

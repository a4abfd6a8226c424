"""Sessions of the dashboard that gateways share, in both kinds of store, and what the store gives away of them."""

import asyncio
from typing import NamedTuple

from sqlalchemy import Connection, func, select, update
from tests.integration.store.key_gateway import LIMIT_S, Gateway, gateways
from tests.postgresql import PostgreSQL

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import KeyWish
from cortex.gateway.ports import KeyRecord
from cortex.gateway.store.schema import API_KEY, DASHBOARD_SESSION, METADATA
from cortex.gateway.store.session import MAX_OF_KEY

WISH = KeyWish(name="olga", scope="admin")


class Operator(NamedTuple):
    """Somebody with a key, as one gateway knows it, and the note of a browser that has signed in there."""

    record: KeyRecord
    note: str


async def an_operator(gateway: Gateway) -> Operator:
    assert gateway.all.keys is not None
    made = await gateway.all.keys.create(WISH)
    await gateway.until(made.secret, holds=True)
    record = gateway.book.record_of(made.key.id)
    assert record is not None
    return Operator(record, await signed_in(gateway, record))


async def signed_in(gateway: Gateway, record: KeyRecord) -> str:
    note = await gateway.sessions.begin(record)
    assert note is not None
    return note


async def sign_out(gateway: Gateway, note: str) -> None:
    session = gateway.sessions.find(note)
    assert session is not None
    await gateway.sessions.end(session)


async def count(gateway: Gateway) -> int:
    assert gateway.store is not None
    counting = select(func.count()).select_from(DASHBOARD_SESSION)
    return await gateway.store.run(lambda connection: connection.execute(counting).scalar_one())


async def everything(gateway: Gateway) -> list[object]:
    """Return every value of every table, as a stolen backup has them."""

    def work(connection: Connection) -> list[object]:
        rows = [row for table in METADATA.sorted_tables for row in connection.execute(select(table))]
        return [value for row in rows for value in row]

    assert gateway.store is not None
    return await gateway.store.run(work)


def test_all_gateways_know_a_session_also_after_a_restart_and_signing_out_ends_it_on_all(store_url: str) -> None:
    async def run() -> None:
        async with gateways(store_url, 2) as (one, other):
            olga = await an_operator(one)
            known = one.sessions.find(olga.note)
            assert known is not None
            await other.until_found(olga.note, is_there=True)
            second = await signed_in(other, olga.record)
            await one.until_found(second, is_there=True)
            async with gateways(store_url, 1) as (again,):
                assert again.sessions.find(olga.note) == known
                await sign_out(again, olga.note)
                assert again.sessions.find(olga.note) is None
            for gateway in (one, other):
                await gateway.until_found(olga.note, is_there=False)
                assert gateway.sessions.find(second) is not None

    asyncio.run(run())


def test_a_key_that_is_revoked_or_has_another_secret_ends_its_sessions_on_all(store_url: str) -> None:
    async def run() -> None:
        async with gateways(store_url, 2) as (one, other):
            assert one.all.keys is not None
            turned, revoked, stays = [await an_operator(one) for _ in range(3)]
            for operator in (turned, revoked, stays):
                await other.until_found(operator.note, is_there=True)
            await one.all.keys.rotate(turned.record.key.id)
            await one.all.keys.revoke(revoked.record.key.id)
            for gateway in (one, other):
                await gateway.until_found(turned.note, is_there=False)
                await gateway.until_found(revoked.note, is_there=False)
                assert gateway.sessions.find(stays.note) is not None
            for ended in (turned, revoked):  # with what a gateway may still have in memory
                assert await other.sessions.begin(ended.record) is None

    asyncio.run(run())


def test_who_has_read_the_whole_store_can_be_nobody(store_url: str) -> None:
    async def run() -> None:
        async with gateways(store_url, 1) as (one,):
            olga = await an_operator(one)
            session = one.sessions.find(olga.note)
            assert session is not None
            read = await everything(one)
            texts = [value.hex() if isinstance(value, bytes | memoryview) else str(value) for value in read]
            assert session.digest.hex() in texts
            whole = "\n".join(texts)
            assert olga.note not in whole
            assert olga.note.encode().hex() not in whole
            assert session.token not in whole
            assert [text for text in texts if one.sessions.find(text) is not None] == []

    asyncio.run(run())


def test_a_key_has_a_bounded_number_of_sessions_and_what_has_ended_goes(store_url: str) -> None:
    async def run() -> None:
        async with gateways(store_url, 2) as both:
            olga, carl = await an_operator(both[0]), await an_operator(both[0])
            await both[1].until_found(carl.note, is_there=True)
            for _ in range(MAX_OF_KEY // 2 + 1):
                await asyncio.gather(*(signed_in(gateway, olga.record) for gateway in both))
            assert await count(both[0]) == MAX_OF_KEY + 1
            for gateway in both:
                await gateway.until_found(olga.note, is_there=False)
                assert gateway.sessions.find(carl.note) is not None
            assert both[0].store is not None
            past = update(DASHBOARD_SESSION).where(DASHBOARD_SESSION.c.key_id == olga.record.key.id).values(ends_s=1.0)
            await both[0].store.run(lambda connection: connection.execute(past))
            last = await signed_in(both[1], carl.record)
            assert await count(both[0]) == 2
            await both[0].until_found(last, is_there=True)

    asyncio.run(run())


def test_a_key_that_has_another_secret_in_the_store_signs_nobody_in_and_is_read_anew(store_url: str) -> None:
    async def run() -> None:
        async with gateways(store_url, 1) as (one,):
            olga = await an_operator(one)
            assert one.store is not None
            other = update(API_KEY).values(digest=b"\0" * 32)
            await one.store.run(lambda connection: connection.execute(other))
            assert await one.sessions.begin(olga.record) is None
            await one.until_found(olga.note, is_there=False)

    asyncio.run(run())


def test_while_the_server_is_gone_sessions_go_on_none_begins_and_who_signs_out_is_out(
    own_postgresql: PostgreSQL,
) -> None:
    async def run(url: str) -> None:
        async with gateways(url, 2) as (one, other):
            olga = await an_operator(one)
            stays = await signed_in(one, olga.record)
            for note in (olga.note, stays):
                await other.until_found(note, is_there=True)
            # In another thread: the server waits for what a connection that has just begun has to say.
            await asyncio.to_thread(own_postgresql.stop)
            try:
                await one.sessions.begin(olga.record)
            except StoreUnavailable:
                pass
            else:
                raise AssertionError("somebody has signed in")
            await sign_out(one, olga.note)
            assert one.sessions.find(olga.note) is None
            assert other.sessions.find(olga.note) is not None
            for gateway in (one, other):
                assert gateway.sessions.find(stays) is not None
            await asyncio.to_thread(own_postgresql.start)
            await other.until_found(olga.note, is_there=False)
            assert one.sessions.find(olga.note) is None
            for gateway in (one, other):
                assert gateway.sessions.find(stays) is not None
            async with asyncio.timeout(LIMIT_S):
                while one.sessions.unended():  # noqa: ASYNC110 - memory has no event
                    await asyncio.sleep(0)

    asyncio.run(run(own_postgresql.new_database()))

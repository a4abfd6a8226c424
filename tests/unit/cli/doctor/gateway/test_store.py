"""A store is read and never changed: what it is, who has keys there, and where its file is."""

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest

from cortex.cli.doctor.gateway.store import (
    StoreLook,
    judge_place,
    judge_reach,
    judge_schema,
    judge_store_clock,
    look_at,
)
from cortex.cli.doctor.host import Disk
from cortex.contract.key import KeyWish
from cortex.gateway.settings import StoreSection
from cortex.gateway.store.key import StoredKeys
from cortex.gateway.store_opening import open_store
from cortex.gateway.store_url import StoreUrl, parse_store_url
from cortex.kit.clock import SystemClock

PG = StoreLook("postgresql://db/cortex")


def url_of(path: Path) -> StoreUrl:
    return parse_store_url(f"sqlite:///{path}")


def look(path: Path) -> StoreLook:
    return asyncio.run(look_at(url_of(path), SystemClock(), 30.0))


async def make_keys(path: Path, *names: str) -> None:
    store = open_store(StoreSection(url=f"sqlite:///{path}"), SystemClock(), "test")
    assert store is not None
    try:
        keys = StoredKeys(store)
        for name in names:
            made = await keys.create(KeyWish(name=name))
            if name == "gone":
                await keys.revoke(made.key.id)
    finally:
        await store.close()


def test_keys_that_hold_are_counted_and_the_schema_is_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "cortex.db"
    asyncio.run(make_keys(path, "one", "two", "gone"))
    seen = look(path)
    assert (seen.keys, seen.why_not, seen.is_known) == (2, "", True)
    assert seen.here == seen.newest
    assert [judge_reach(seen).result, judge_schema(seen).result] == ["ok", "ok"]
    assert abs(seen.skew_s) < 60


def test_a_library_that_is_missing_keeps_the_gateway_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy.exc", None)
    seen = look(tmp_path / "cortex.db")
    found = judge_reach(seen)
    assert (found.result, found.means) == ("fail", "the gateway does not start")
    assert "is not installed" in found.found
    assert found.do == "pip install 'cortex-gateway[store]'"
    assert {judge_schema(seen).result, judge_store_clock(seen, url_of(tmp_path)).result} == {"skipped"}


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    seen = look(tmp_path / "cortex.db")
    assert not seen.exists
    assert list(tmp_path.iterdir()) == []
    assert judge_reach(seen).result == "ok"
    assert judge_schema(seen).result == "skipped"


def test_an_empty_database_stays_empty(tmp_path: Path) -> None:
    path = tmp_path / "cortex.db"
    sqlite3.connect(path).close()
    path.touch()
    before = path.read_bytes()
    seen = look(path)
    assert (seen.here, seen.keys) == (None, None)
    assert path.read_bytes() == before
    assert judge_schema(seen).found == "it is empty: the first gateway makes its tables"


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cortex.db"
    path.write_text("no database at all " * 100)
    seen = look(path)
    assert seen.why_not == "file is not a database"
    assert judge_reach(seen).result == "fail"


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    url = parse_store_url("postgresql://me:s3cret@127.0.0.1:1/cortex")
    seen = asyncio.run(look_at(url, SystemClock(), 30.0))
    assert seen.why_not
    assert "s3cret" not in str(seen) + str(judge_reach(seen))
    assert judge_reach(seen).result == "fail"


@pytest.mark.parametrize(
    ("seen", "result"),
    [
        (None, "skipped"),
        (PG, "ok"),
        (PG._replace(here="a", newest="b"), "ok"),
        (PG._replace(here="z", newest="b", is_known=False), "warn"),
        (PG._replace(why_not="gone"), "skipped"),
    ],
    ids=["none", "empty", "older", "newer", "gone"],
)
def test_the_schema_of_another_version_is_told(seen: StoreLook | None, result: str) -> None:
    assert judge_schema(seen).result == result


def test_the_clock_of_a_server_counts_and_that_of_a_file_is_ours(tmp_path: Path) -> None:
    server = parse_store_url("postgresql://db/cortex")
    assert judge_store_clock(PG._replace(skew_s=300.0), server).result == "warn"
    assert judge_store_clock(PG._replace(skew_s=0.1), server).result == "ok"
    assert judge_store_clock(StoreLook("f", skew_s=300.0), url_of(tmp_path / "f")).result == "ok"
    assert judge_store_clock(None, None).result == "skipped"
    assert judge_reach(None).result == "ok"


@pytest.mark.parametrize(("kind", "result"), [("xfs", "ok"), ("nfs4", "fail"), ("tmpfs", "warn"), ("", "ok")])
def test_sqlite_wants_a_disk_of_this_host(kind: str, result: str) -> None:
    disk = Disk(Path("/var/lib/cortex"), True, True, kind, 1, 1)
    assert judge_place(disk, Path("/var/lib/cortex/cortex.db")).result == result

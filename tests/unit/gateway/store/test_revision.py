"""The number by which gateways tell whether keys or sessions have changed."""

import time
from pathlib import Path

from sqlalchemy import Connection, create_engine

from cortex.gateway.store.revision import count_change, read_revision
from cortex.gateway.store.schema import METADATA


def numbers(folder: Path, changes: int) -> list[int]:
    engine = create_engine(f"sqlite:///{folder}/store.db")

    def read(connection: Connection) -> int:
        METADATA.create_all(connection)
        return read_revision(connection)

    with engine.begin() as connection:
        found = [read(connection)]
        for _ in range(changes):
            count_change(connection)
            found.append(read_revision(connection))
    engine.dispose()
    return found


def test_it_grows_with_every_change_also_within_a_second(tmp_path: Path) -> None:
    found = numbers(tmp_path, 50)
    assert found == sorted(set(found))


def test_it_is_no_less_than_the_time_so_that_it_differs_in_another_database(tmp_path: Path) -> None:
    before_s = int(time.time())
    first, second = numbers(tmp_path, 1)
    assert first == 0
    assert before_s - 60 <= second

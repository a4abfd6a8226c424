"""The migrations make the schema that the code expects, once, and leave a newer one alone."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from cortex.gateway.store.schema import METADATA
from cortex.gateway.store.schema_version import migrate


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    engine = create_engine(f"sqlite:///{tmp_path}/store.db")
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def test_the_migrations_make_the_tables_of_the_schema(connection: Connection) -> None:
    migrate(connection)
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    assert compare_metadata(context, METADATA) == []


def test_a_second_time_changes_nothing(connection: Connection) -> None:
    migrate(connection)
    before = inspect(connection).get_table_names()
    migrate(connection)
    assert inspect(connection).get_table_names() == before


def test_a_newer_schema_is_left_as_it_is(connection: Connection) -> None:
    migrate(connection)
    connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    migrate(connection)
    assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"

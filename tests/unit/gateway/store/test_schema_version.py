"""The migrations make the schema that the code expects, once, and leave a newer one alone.

They only add, and what they add to a table may be left out: the version before works with what they have made.
"""

import ast
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text
from tests.arch.source import SRC

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


MIGRATIONS = sorted((SRC / "cortex" / "gateway" / "store" / "migration" / "versions").glob("v*.py"))
ADDING = {"create_table", "create_index", "add_column"}


def operations(source: str) -> list[ast.Call]:
    """Return every ``op.…(…)`` of a migration."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "op"]


def disturbs_the_version_before(call: ast.Call) -> bool:
    """Tell whether a gateway that does not know of an operation may fail for it."""
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr == "create_index":
        return any(one.arg == "unique" for one in call.keywords)
    if call.func.attr != "add_column":
        return call.func.attr not in ADDING
    (column,) = (one for one in ast.walk(call) if isinstance(one, ast.Call) and ast.unparse(one.func) == "sa.Column")
    said = {one.arg: ast.unparse(one.value) for one in column.keywords}
    return said.get("nullable") == "False" and "server_default" not in said


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_a_migration_leaves_the_version_before_at_work(path: Path) -> None:
    found = operations(path.read_text())
    assert found
    new_tables = {ast.unparse(call.args[0]) for call in found if call.func.attr == "create_table"}  # type: ignore[attr-defined]
    disturbing = [call for call in found if disturbs_the_version_before(call) and not is_about(call, new_tables)]
    assert [ast.unparse(call) for call in disturbing] == []


def is_about(call: ast.Call, tables: set[str]) -> bool:
    """Tell whether an index is one of a table that is new itself."""
    return any(ast.unparse(one) in tables for one in call.args)


@pytest.mark.parametrize(
    ("operation", "disturbs"),
    [
        ("op.drop_column('quota', 'book')", True),
        ("op.add_column('quota', sa.Column('at_s', sa.Float, nullable=False))", True),
        ("op.add_column('quota', sa.Column('at_s', sa.Float, nullable=False, server_default='0'))", False),
        ("op.add_column('quota', sa.Column('at_s', sa.Float))", False),
        ("op.create_index('i', 'quota', ['book'], unique=True)", True),
    ],
)
def test_what_would_disturb_the_version_before_is_found(operation: str, disturbs: bool) -> None:
    (call,) = operations(operation)
    assert disturbs_the_version_before(call) == disturbs

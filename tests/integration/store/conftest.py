"""Stores for the tests of this folder: an empty one of each kind for every test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import postgresql


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.PostgreSQL]:
    """One PostgreSQL server for all tests; a missing one is a failure where CI says that it must be there."""
    if not postgresql.is_installed():
        words = "no PostgreSQL here (initdb and postgres, of the packages postgresql or postgresql-server)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    with postgresql.running() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: postgresql.PostgreSQL = request.getfixturevalue("server")
    return server.new_database()

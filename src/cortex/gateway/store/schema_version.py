"""Brings a database to the schema of this version: Alembic's migrations, run by one gateway at a time.

A database that a newer version has migrated already is left as it is: what is added there does not disturb this one.
"""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

LOCK = 0x636F72746578
"""Of PostgreSQL's advisory locks the one that means: somebody migrates. "cortex" in ASCII."""

log = logging.getLogger(__name__)


def migrate(connection: Connection) -> None:
    """Migrate within the transaction of ``connection``, after whoever else is at it. SQLite's is alone by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = alembic_config()
    config.attributes["connection"] = connection
    here = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head()
    if here == newest:
        return
    if here is not None and here not in {script.revision for script in scripts.walk_revisions()}:
        log.info("the store's schema (%s) is newer than this gateway's (%s)", here, newest)
        return
    command.upgrade(config, "head")
    log.info("the store's schema is %s now", newest)


def alembic_config() -> Config:
    """Return Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migration").replace("%", "%%"))
    config.set_main_option(
        "version_locations", str(Path(__file__).parent / "migration" / "versions").replace("%", "%%")
    )
    config.set_main_option("path_separator", "newline")
    return config

"""Run by Alembic for every migration, on the connection that ``store/schema_version.py`` has opened and locked."""

from alembic import context

from cortex.gateway.store.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()

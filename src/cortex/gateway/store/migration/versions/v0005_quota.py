"""Quota: a row per key whose limits are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table of quota."""
    op.create_table(
        "quota",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("book", sa.Text, nullable=False),
    )

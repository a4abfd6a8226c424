"""Responses that are kept for requests to come."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table of responses."""
    op.create_table(
        "response",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("kept_at_s", sa.Double, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_index("response_by_age", "response", ["kept_at_s", "id", "size_bytes"])

"""Dashboard session: a row per browser that has signed in."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table of sessions."""
    op.create_table(
        "dashboard_session",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("key_digest", sa.LargeBinary, nullable=False),
        sa.Column("begun_s", sa.Double, nullable=False),
        sa.Column("ends_s", sa.Double, nullable=False),
    )
    op.create_index("dashboard_session_by_key", "dashboard_session", ["key_id", "begun_s"])

"""The tables as they are today; ``migration/`` makes them, and a test holds the two together."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

CLAIM = Table(
    "claim",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("target", Text, nullable=False),
    # Grows with every new holder; a row is never deleted, so that it never goes back.
    Column("number", BigInteger, nullable=False),
    # Epoch seconds by the database's clock, the only one that all gateways see alike.
    Column("expires_at_s", Double, nullable=False),
)
"""What one gateway at a time does: ``steward``, ``load:<model>``."""

RESPONSE = Table(
    "response",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    # Epoch seconds by the database's clock.
    Column("kept_at_s", Double, nullable=False),
    # Last, because SQLite has to read through it to whatever comes after.
    Column("record", LargeBinary, nullable=False),
    # All that a sweep looks at, so that it reads no records.
    Index("response_by_age", "kept_at_s", "id", "size_bytes"),
)
"""What is kept of responses, for requests that go on from them."""

API_KEY = Table(
    "api_key",
    METADATA,
    Column("id", Text, primary_key=True),
    # SHA-256 of the secret, which is kept nowhere.
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    # How the secret begins, to tell keys apart by.
    Column("shown", Text, nullable=False),
    Column("scope", Text, nullable=False),
    # JSON: a list of patterns.
    Column("models", Text, nullable=False),
    Column("queue_priority", BigInteger, nullable=False),
    # JSON: ``KeyLimits``.
    Column("limits", Text, nullable=False),
    # Epoch seconds by the database's clock.
    Column("created_s", Double, nullable=False),
    Column("expires_s", Double),
    Column("revoked_s", Double),
)
"""Who may ask. Rows stay when they are revoked."""

REVISION = Table(
    "revision",
    METADATA,
    Column("name", Text, primary_key=True),
    # Another one after every change, and no less than the epoch second, so that it differs where a database was lost.
    Column("number", BigInteger, nullable=False),
)
"""Of what gateways hold in memory (``api_key``: keys and sessions): by its number they tell whether it has changed."""

USAGE = Table(
    "usage",
    METADATA,
    # Given by the gateway, so that a batch that is written again is not counted twice.
    Column("id", Text, primary_key=True),
    Column("request_id", Text, nullable=False),
    # Epoch seconds by the gateway's clock.
    Column("started_s", Double, nullable=False),
    # Days of UTC since 1970-01-01.
    Column("day", BigInteger, nullable=False),
    Column("key_name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("status", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("is_stream", Boolean, nullable=False),
    Column("cold_start", Boolean, nullable=False),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("total_tokens", BigInteger),
    Column("first_token_s", Double),
    Column("duration_s", Double, nullable=False),
    Column("error", Text),
    # For pages of requests and for what is too old; for one key's and one model's.
    Index("usage_by_time", "started_s", "id"),
    Index("usage_by_key", "key_name", "started_s"),
    Index("usage_by_model", "model", "started_s"),
)
"""A row per finished request; see ``contract.usage.UsageEntry``."""

QUOTA = Table(
    "quota",
    METADATA,
    Column("key_id", Text, primary_key=True),
    # JSON: ``fleet.quota_book.QuotaBook``.
    Column("book", Text, nullable=False),
)
"""How much of its limits each key has used, and which gateway holds what of them."""

DASHBOARD_SESSION = Table(
    "dashboard_session",
    METADATA,
    # SHA-256 of what the browser has, which is kept nowhere.
    Column("digest", LargeBinary, primary_key=True),
    Column("key_id", Text, nullable=False),
    # Of the key's secret when the session began: with another secret it ends.
    Column("key_digest", LargeBinary, nullable=False),
    # Epoch seconds by the database's clock.
    Column("begun_s", Double, nullable=False),
    Column("ends_s", Double, nullable=False),
    Index("dashboard_session_by_key", "key_id", "begun_s"),
)
"""Browsers that have signed in to the dashboard."""

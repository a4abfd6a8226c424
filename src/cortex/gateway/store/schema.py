"""The tables as they are today; ``migration/`` makes them, and a test holds the two together."""

from sqlalchemy import BigInteger, Column, Double, Index, LargeBinary, MetaData, Table, Text

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
"""Of what gateways hold in memory (``api_key``): by its number they tell whether it has changed."""

"""The database's own time, the only one that all gateways see alike, as an expression for its statements."""

from sqlalchemy import ColumnElement, Double, cast, func, literal

UNIX_EPOCH_DAYS = 2440587.5
"""1970-01-01 as a Julian day, in which SQLite reckons with fractions of a second."""


def database_now(dialect: str) -> ColumnElement[float]:
    """Return the expression for the time in epoch seconds."""
    if dialect == "postgresql":
        return cast(func.extract("epoch", func.clock_timestamp()), Double)
    return (func.julianday("now") - literal(UNIX_EPOCH_DAYS)) * literal(86400.0)

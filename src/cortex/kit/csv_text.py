"""CSV as spreadsheets and scripts read it (RFC 4180): a line of names, then a line per record."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet reckon with a text."""


def csv_text(header: Sequence[str], records: Iterable[Mapping[str, object]]) -> str:
    """Return records as CSV; None is an empty cell, and a text that a spreadsheet would run has a quote before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(record.get(name)) for name in header] for record in records)
    return out.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

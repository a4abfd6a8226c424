"""Records as CSV, for spreadsheets that run what looks like a formula."""

import csv
import io

from cortex.kit.csv_text import csv_text


def test_what_is_written_is_what_is_read() -> None:
    text = csv_text(["model", "requests", "mean"], [{"model": 'a,"b"\n', "requests": 3, "mean": None, "more": 1}])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["model", "requests", "mean"], ['a,"b"\n', "3", ""]]


def test_no_text_is_a_formula() -> None:
    lines = csv_text(["a", "b"], [{"a": "=1+1", "b": -5}, {"a": "@x", "b": "+1"}]).split("\r\n")
    assert lines == ["a,b", "'=1+1,-5", "'@x,'+1", ""]

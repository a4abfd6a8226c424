"""One record, one line; fields come out; strangers are quiet."""

import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from cortex.kit.cause import Cause, working_for
from cortex.kit.log import (
    MAX_MESSAGE,
    MAX_REMEMBERED,
    LogFormat,
    LogLevel,
    Repetition,
    Stamp,
    configure,
    escaped,
    goes_to_journal,
    shown,
)
from cortex.kit.trace_context import TraceContext

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def _logging_as_found() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("cortex")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


def stream(level: LogLevel = "info", fmt: LogFormat = "plain") -> io.StringIO:
    out = io.StringIO()
    configure(level, fmt, out)
    return out


def test_a_plain_line_has_time_level_place_words_and_fields() -> None:
    out = stream()
    logging.getLogger("cortex.gateway.data").info("routed %s", "m", extra={"node": "beast", "tries": 2})
    assert re.fullmatch(TIME + r" INFO    gateway\.data: routed m node=beast tries=2\n", out.getvalue())


def test_a_message_cannot_forge_a_second_record() -> None:
    out = stream()
    logging.getLogger("cortex.x").info("model %s", "a\n2026 ERROR\r\x1b[31m\u2028b", extra={"path": "c\nd"})
    assert out.getvalue().count("\n") == 1
    assert r"model a\n2026 ERROR\r\x1b[31m\u2028b path=c\nd" in out.getvalue()


def test_a_json_line_has_the_same_and_the_traceback_in_it() -> None:
    out = stream(fmt="json")
    try:
        raise ZeroDivisionError("fire")
    except ZeroDivisionError:
        logging.getLogger("cortex.x").exception("broken\nhere", extra={"node": "beast", "odd": object})
    assert out.getvalue().count("\n") == 1
    line = json.loads(out.getvalue())
    assert re.fullmatch(TIME, line.pop("time"))
    assert "ZeroDivisionError: fire" in line.pop("traceback")
    assert line == {
        "level": "error",
        "logger": "cortex.x",
        "message": "broken\nhere",
        "node": "beast",
        "odd": "<class 'object'>",
    }


def test_a_plain_traceback_follows_its_line() -> None:
    out = stream()
    try:
        raise ZeroDivisionError("fire")
    except ZeroDivisionError:
        logging.getLogger("cortex.x").exception("broken")
    lines = out.getvalue().splitlines()
    assert lines[0].endswith("ERROR   x: broken")
    assert lines[-1] == "    ZeroDivisionError: fire"
    assert all(line.startswith("    ") for line in lines[1:])


FORGED = "2026-11-24T08:41:22.123Z ERROR   x: forged"


@pytest.mark.parametrize("fmt", ["plain", "json"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_nothing_that_is_logged_begins_a_line_of_its_own(end: str, fmt: LogFormat) -> None:
    out = stream(fmt=fmt)
    said = f"a{end}{FORGED}"
    try:
        raise ValueError(said)
    except ValueError:
        logging.getLogger("cortex.x").exception("%s", said, extra={"model": said})
    assert not any(line.startswith(FORGED[:10]) for line in out.getvalue().splitlines()[1:])
    if fmt == "json":
        assert json.loads(out.getvalue())["model"] == said


@pytest.mark.parametrize("fmt", ["plain", "json"])
def test_nothing_that_is_logged_moves_a_cursor_or_turns_the_text(fmt: LogFormat) -> None:
    out = stream(fmt=fmt)
    bad = "\x1b\x07\x9b\u202e\u2066\ufeff"
    try:
        raise ValueError(bad)
    except ValueError:
        logging.getLogger("cortex.x").exception("%s", bad, extra={"model": bad})
    logging.getLogger("cortex.x").info("%s", "\x7f", extra={"model": "\x7f"})
    assert {*bad, "\x7f"}.isdisjoint(out.getvalue())


def test_a_value_cannot_be_taken_for_more_than_its_field() -> None:
    out = stream()
    logging.getLogger("cortex.x").info("routed", extra={"model": 'a" node=evil', "empty": "", "path": "c\\d"})
    assert out.getvalue().endswith(r"""routed model="a\" node=evil" empty="" path=c\d""" + "\n")


def test_a_field_cannot_stand_in_for_what_every_line_has() -> None:
    out = stream(fmt="json")
    logging.getLogger("cortex.x").info("said", extra={"level": "debug", "logger": "root", "time": "never"})
    line = json.loads(out.getvalue())
    assert (line["level"], line["logger"], line["message"]) == ("info", "cortex.x", "said")
    assert re.fullmatch(TIME, line["time"])


def test_what_is_no_text_is_logged_all_the_same() -> None:
    out = stream(fmt="json")
    logging.getLogger("cortex.x").info("file %s", "\udcff", extra={"path": "\udcff"})
    assert json.loads(out.getvalue())["path"] == r"\udcff"


def test_a_message_has_an_end() -> None:
    out = stream()
    logging.getLogger("cortex.x").info("%s", "x" * (MAX_MESSAGE + 1))
    assert out.getvalue().endswith(f"x… ({MAX_MESSAGE + 1} characters)\n")


@pytest.mark.parametrize("fmt", ["plain", "json"])
def test_a_line_says_which_request_it_is_about(fmt: LogFormat) -> None:
    out = stream(fmt=fmt)
    with working_for(Cause("req-7", TraceContext(15, 10, True))):
        logging.getLogger("cortex.x").info("loading")
    logging.getLogger("cortex.x").info("at rest")
    first, second = out.getvalue().splitlines()
    for value in ("req-7", f"{15:032x}", f"{10:016x}"):
        assert value in first
    assert "req" not in second
    assert "trace" not in second


def test_the_journal_is_told_how_bad_a_line_is(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as journal:
        there = os.fstat(journal.fileno())
        configure("debug", "plain", journal, env={"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"})
        ours = logging.getLogger("cortex.x")
        ours.debug("d")
        ours.info("i")
        ours.warning("w")
        try:
            raise ValueError("a\nb")
        except ValueError:
            ours.exception("e")
        ours.critical("c")
        journal.seek(0)
        lines = journal.read().splitlines()
    assert [line[:3] for line in lines if not line.startswith("<3>    ")] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert len(lines) > 5
    assert all(re.match(r"<[2-7]>", line) for line in lines)


@pytest.mark.parametrize("value", ["", "1", "1:2", "x:y", ":"])
def test_elsewhere_lines_have_no_mark(value: str, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+") as file:
        assert not goes_to_journal({"JOURNAL_STREAM": value}, file)
    assert not goes_to_journal({"JOURNAL_STREAM": value}, io.StringIO())


@pytest.mark.parametrize(("level", "shown"), [("debug", "diwe"), ("info", "iwe"), ("warn", "we"), ("error", "e")])
def test_the_level_decides_what_of_ours_is_shown(level: LogLevel, shown: str) -> None:
    out = stream(level)
    ours = logging.getLogger("cortex.x")
    ours.debug("d")
    ours.info("i")
    ours.warning("w")
    ours.error("e")
    assert "".join(line[-1] for line in out.getvalue().splitlines()) == shown


def test_other_packages_are_heard_from_warnings_on_even_at_debug() -> None:
    out = stream("debug")
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("uvicorn.error").warning("odd request")
    assert "GET /" not in out.getvalue()
    assert "uvicorn.error: odd request" in out.getvalue()


def test_pythons_warnings_become_records() -> None:
    out = stream()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old door", DeprecationWarning, stacklevel=1)
    assert "py.warnings" in out.getvalue()
    assert "old door" in out.getvalue()


def asyncios(words: str, created_s: float, name: str = "asyncio") -> logging.LogRecord:
    record = logging.makeLogRecord({"name": name, "msg": words, "levelno": logging.ERROR})
    record.created = created_s
    return record


def test_what_asyncio_repeats_is_said_once_in_a_while() -> None:
    seldom = Repetition()
    times = [1e9, 1e9 + 0.01, 1e9 + 9, 1e9 + 10, 1e9 + 11, 1e9 + 1]
    assert [bool(seldom.filter(asyncios("no descriptors", at_s))) for at_s in times] == [
        True, False, False, True, False, True,
    ]  # fmt: skip
    assert seldom.filter(asyncios("something else", 1e9 + 0.01))


def test_everybody_elses_lines_all_come() -> None:
    out = stream()
    for _ in range(3):
        logging.getLogger("cortex.x").error("again")
        logging.getLogger("uvicorn.error").error("again")
        logging.getLogger("asyncio").error("again")
    assert len(out.getvalue().splitlines()) == 7


def test_what_was_said_is_not_remembered_without_bound() -> None:
    seldom = Repetition()
    assert all(seldom.filter(asyncios(f"{number}", 1e9)) for number in range(MAX_REMEMBERED + 1))
    assert seldom.filter(asyncios("0", 1e9))


def test_configuring_again_replaces_the_first_stream() -> None:
    first, second = stream(), stream()
    logging.getLogger("cortex.x").info("hello")
    assert first.getvalue() == ""
    assert "hello" in second.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – “text” ☃", "plain – “text” ☃"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x00\x1b[2J\x7f", r"\x00\x1b[2J\x7f"),
        ("\x85\u2028\u2029", r"\x85\u2028\u2029"),
    ],
)
def test_text_on_one_line_keeps_what_is_harmless(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert len(escaped(text).splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (7, "7"),
        ("", '""'),
        ("two words", '"two words"'),
        ('"quoted"', r'"\"quoted\""'),
        ("ends with \\", r'"ends with \\"'),
        ('gets out \\" key=forged', r'"gets out \\\" key=forged"'),
        ("a\nb", r"a\nb"),
    ],
)
def test_a_value_cannot_be_taken_for_more_than_one_field(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("epoch_s", "shown"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_800_000_000.001, "2027-01-15T08:00:00.001Z"),
        (1_800_000_000.123, "2027-01-15T08:00:00.123Z"),
        (1_800_000_000.9994, "2027-01-15T08:00:00.999Z"),
        (1_800_000_000.9996, "2027-01-15T08:00:01.000Z"),
    ],
)
def test_a_time_is_shown_to_the_nearest_millisecond(epoch_s: float, shown: str) -> None:
    assert Stamp()(epoch_s) == shown


def test_a_stamp_is_right_also_when_time_goes_back() -> None:
    stamp = Stamp()
    times = [stamp(epoch_s) for epoch_s in (100.25, 100.5, 101.0, 100.75)]
    assert [time[-10:] for time in times] == ["01:40.250Z", "01:40.500Z", "01:41.000Z", "01:40.750Z"]

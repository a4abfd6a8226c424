"""One record, one line; fields come out; strangers are quiet."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest

from cortex.kit.log import MAX_REMEMBERED, LogFormat, LogLevel, Repetition, Stamp, configure, escaped

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
    assert lines[-1] == "ZeroDivisionError: fire"


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

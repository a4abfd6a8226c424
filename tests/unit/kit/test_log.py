"""One record, one line; fields come out; strangers are quiet."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest

from cortex.kit.log import LogFormat, LogLevel, configure

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


def test_configuring_again_replaces_the_first_stream() -> None:
    first, second = stream(), stream()
    logging.getLogger("cortex.x").info("hello")
    assert first.getvalue() == ""
    assert "hello" in second.getvalue()

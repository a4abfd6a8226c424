"""What callers write never makes a line of the log, moves a cursor or turns the text: every line is one of ours."""

import io
import json
import re

import pytest
from tests.integration.gateway.hostile_engine import good
from tests.integration.gateway.scene import MODEL, Scene, scene
from tests.security.test_secret import said as captured

from cortex.gateway.data.access_log import AccessLog

__all__ = ["captured"]

FORGED = "2026-01-01T00:00:00.000Z INFO cortex.gateway forged=yes"
TRICKS = {
    "line": f"m\n{FORGED}",
    "return": f"m\r{FORGED}",
    "both": f"m\r\n{FORGED}",
    "escape": "m\x1b[2J\x1b]0;owned\x07",
    "nul": "m\x00",
    "backspace": "m\x08\x08\x08",
    "turned": "m\u202egnp.exe",
    "separator": f"m\u2028{FORGED}",
    "next-line": f"m\x85{FORGED}",
    "delete": "m\x7f",
}
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z .*")


@pytest.fixture
def written(captured: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The log and the access log, in one stream."""
    begin = AccessLog.__init__

    def init(self: AccessLog, loop: object, fmt: object, _stream: object = None, **more: object) -> None:
        begin(self, loop, fmt, captured, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(AccessLog, "__init__", init)
    return captured


def lines_of(stream: io.StringIO) -> list[str]:
    text = stream.getvalue()
    assert all(char.isprintable() or char == "\n" for char in text)
    lines = text.split("\n")[:-1]
    assert all(LINE.fullmatch(line) for line in lines), [line for line in lines if not LINE.fullmatch(line)]
    return lines


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
@pytest.mark.parametrize("field", ["model", "conversation", "user-agent", "path", "request-id"])
def test_nobody_forges_a_line(
    field: str, trick: str, written: io.StringIO, request: pytest.FixtureRequest, in_flight_zero: list
) -> None:
    @scene(good, access_log=True, log_level="debug")
    async def run(it: Scene) -> None:
        header = "".join(char for char in trick if char >= " " and char != "\x7f").encode().decode("latin-1")
        quoted = "".join(f"%{byte:02x}" for byte in trick.encode())
        body = json.dumps({"model": trick if field == "model" else MODEL, "messages": []}).encode()
        extra = {
            "conversation": [f"x-conversation-id: {header}"],
            "user-agent": [f"user-agent: {header}"],
            "request-id": [f"x-request-id: {header}"],
        }.get(field, [])
        if field == "path":
            for path in (f"/{quoted}", f"/v1/models/{quoted}", f"/admin/v1/models/{quoted}", f"/v1/responses/{quoted}"):
                assert (await it.get(path)).status in (400, 404)
        await it.ask(body, *extra)

    run(in_flight_zero=in_flight_zero, loop_factory=None)
    lines = lines_of(written)
    assert lines
    assert not any(line.startswith("2026-01-01T00:00:00.000Z") for line in lines)

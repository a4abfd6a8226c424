"""Both doctors make the checks that are wished for, and end with the worst finding's code."""

import asyncio
import json
import logging

import pytest

from cortex.cli.doctor.command import Wish, made, silence, told
from cortex.cli.doctor.examination import Check
from cortex.cli.doctor.finding import Finding, ok, warn


async def odd() -> Finding:
    return warn("odd", "why", "do")


async def well() -> Finding:
    return ok("well")


CHECKS = (Check("a.odd", odd), Check("a.well", well))


def test_only_what_is_wished_for_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    wish = Wish(skip=("a.odd",), as_json=True)
    assert told("cortex", asyncio.run(made(CHECKS, wish)), wish) == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)["findings"]] == ["a.well"]


def test_people_are_told_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert told("cortex", asyncio.run(made(CHECKS, Wish())), Wish()) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 warn, 1 ok"


def test_what_is_asked_logs_nothing_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    with silence():
        logging.getLogger("probe").warning("a trouble")
    logging.getLogger("probe").warning("heard again")
    assert [record.getMessage() for record in caplog.records] == ["heard again"]
